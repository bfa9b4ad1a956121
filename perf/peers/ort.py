# SPDX-License-Identifier: MIT
"""What the peers of ONNX Runtime share: a model of a few nodes, its memory bound once."""
import numpy as np
import onnx
import onnxruntime

IR_VERSION = 10  # what the oldest supported runtime reads
OPSET = 17
TYPES = {"float32": onnx.TensorProto.FLOAT, "float16": onnx.TensorProto.FLOAT16, "int32": onnx.TensorProto.INT32}


def make_model(nodes, inputs, outputs, constants):
    """inputs, outputs: name -> (dtype, shape); constants: name -> array."""
    def infos(tensors):
        return [onnx.helper.make_tensor_value_info(name, TYPES[str(dtype)], shape)
                for name, (dtype, shape) in tensors.items()]
    weights = [onnx.numpy_helper.from_array(x, name) for name, x in constants.items()]
    graph = onnx.helper.make_graph(nodes, "attention", infos(inputs), infos(outputs), weights)
    opsets = [onnx.helper.make_opsetid("", OPSET), onnx.helper.make_opsetid("com.microsoft", 1)]
    return onnx.helper.make_model(graph, ir_version=IR_VERSION, opset_imports=opsets).SerializeToString()


def linear(x, w, b, y):
    """y = x w + b, names."""
    return [onnx.helper.make_node("MatMul", [x, w], [f"{y}_product"]),
            onnx.helper.make_node("Add", [f"{y}_product", b], [y])]


def make_session(model, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    # Threads wait awake during a call as they like, but not while libsa has its turn.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def bind(nodes, inputs, outputs, threads, shared=None, constants=None):
    """A call of these nodes on memory that is bound once, and its output values by name.

    inputs: name -> array, outputs of the first one's type; outputs: name -> shape; shared: output -> input whose
    memory it takes; constants: name -> array, known when the model is compiled."""
    shared = shared or {}
    dtype = str(next(iter(inputs.values())).dtype)
    model = make_model(nodes, {name: (x.dtype, x.shape) for name, x in inputs.items()},
                       {name: (dtype, shape) for name, shape in outputs.items()}, constants or {})
    session = make_session(model, threads)
    value = onnxruntime.OrtValue
    values = {name: value.ortvalue_from_numpy(x) for name, x in inputs.items()}
    for name, shape in outputs.items():
        values[name] = values[shared[name]] if name in shared else \
            value.ortvalue_from_shape_and_type(list(shape), np.dtype(dtype).type)
    binding = session.io_binding()
    for name in inputs:
        binding.bind_ortvalue_input(name, values[name])
    for name in outputs:
        binding.bind_ortvalue_output(name, values[name])

    def call():
        session.run_with_iobinding(binding)

    return call, values
