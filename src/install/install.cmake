# SPDX-License-Identifier: MIT
# What `cmake --install` installs of the library, and how other projects find it there: by find_package(sa) or by
# `pkg-config sa`; libsa_layer, where it is built, as the component `layer` and by `pkg-config sa_layer`. Included by the
# project's CMakeLists.txt; the sa program installs itself.

option(SA_INSTALL "Generate the install rules of libsa" ${PROJECT_IS_TOP_LEVEL})
if(NOT SA_INSTALL)
  return()
endif()

include(CMakePackageConfigHelpers)
set(sa_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/sa)
get_target_property(sa_type sa TYPE)
set(sa_is_shared 0)
if(sa_type STREQUAL "SHARED_LIBRARY")
  set(sa_is_shared 1)
endif()

# runtime: what a program that is linked already needs; development: what one needs to link. Either may be installed
# alone (cmake --install ... --component runtime).
set(sa_with_layer 0)
set(sa_targets sa)
if(TARGET sa_layer)
  set(sa_with_layer 1)
  list(APPEND sa_targets sa_layer)
endif()
install(TARGETS ${sa_targets} EXPORT saTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT runtime NAMELINK_COMPONENT development
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/sa DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development
  FILES_MATCHING PATTERN "*.h")
if(sa_with_layer)
  target_include_directories(sa_layer INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
endif()

# ---- CMake package: find_package(sa), target sa::sa ----

install(EXPORT saTargets NAMESPACE sa:: DESTINATION ${sa_package_dir} COMPONENT development)
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/saConfig.cmake.in ${PROJECT_BINARY_DIR}/saConfig.cmake
  INSTALL_DESTINATION ${sa_package_dir} NO_SET_AND_CHECK_MACRO)
# While the major version is 0, a new minor version may change the interface.
if(PROJECT_VERSION_MAJOR EQUAL 0)
  set(sa_compatibility SameMinorVersion)
else()
  set(sa_compatibility SameMajorVersion)
endif()
write_basic_package_version_file(${PROJECT_BINARY_DIR}/saConfigVersion.cmake COMPATIBILITY ${sa_compatibility})
install(FILES ${PROJECT_BINARY_DIR}/saConfig.cmake ${PROJECT_BINARY_DIR}/saConfigVersion.cmake
  DESTINATION ${sa_package_dir} COMPONENT development)

# ---- pkg-config: sa.pc ----

# A static library leaves to the program's link what it needs itself: libm and the OpenMP runtime of the compiler it was
# built with, by name, so that another compiler may link the program.
set(sa_pc_libs "-lm")
foreach(name IN LISTS OpenMP_C_LIB_NAMES)
  if(NOT CMAKE_C_COMPILER_ID STREQUAL "GNU") # gcc's own directory is searched anyway
    cmake_path(GET OpenMP_${name}_LIBRARY PARENT_PATH dir)
    string(APPEND sa_pc_libs " -L${dir}")
  endif()
  string(APPEND sa_pc_libs " -l${name}")
endforeach()
# Beside a shared library that is private: it counts for an archive of the same version (pkg-config --static). Where
# there is only the archive every program needs it, so plain `pkg-config --libs sa` names it.
if(sa_is_shared)
  set(sa_pc_needs "Requires.private: hwloc >= 2.9\nLibs: -L\${libdir} -lsa\nLibs.private: ${sa_pc_libs}")
else()
  set(sa_pc_needs "Requires: hwloc >= 2.9\nLibs: -L\${libdir} -lsa ${sa_pc_libs}")
endif()
# Absolute GNUInstallDirs are taken as they are, the usual relative ones follow the prefix.
set(sa_pc_libdir "\${prefix}")
set(sa_pc_includedir "\${prefix}")
cmake_path(APPEND sa_pc_libdir ${CMAKE_INSTALL_LIBDIR})
cmake_path(APPEND sa_pc_includedir ${CMAKE_INSTALL_INCLUDEDIR})
# The prefix is found from where sa.pc lies, so that the installation can be moved, and installed with --prefix.
cmake_path(RELATIVE_PATH CMAKE_INSTALL_PREFIX BASE_DIRECTORY ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig
  OUTPUT_VARIABLE sa_pc_prefix)
configure_file(${CMAKE_CURRENT_LIST_DIR}/sa.pc.in ${PROJECT_BINARY_DIR}/sa.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/sa.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT development)

if(NOT sa_with_layer)
  return()
endif()
# CBLAS is private to a shared library, and a need of every program beside an archive: a module of pkg-config, or the
# path of a library.
if(IS_ABSOLUTE "${SA_BLAS}")
  set(sa_blas_libs " ${SA_BLAS}")
  set(sa_blas_module "")
else()
  set(sa_blas_libs "")
  set(sa_blas_module ${SA_BLAS})
endif()
if(sa_is_shared)
  set(sa_layer_pc_needs "Requires: sa = ${PROJECT_VERSION}\nRequires.private: ${sa_blas_module}\n")
  string(APPEND sa_layer_pc_needs "Libs: -L\${libdir} -lsa_layer\nLibs.private:${sa_blas_libs} -lm")
else()
  set(sa_layer_pc_needs "Requires: sa = ${PROJECT_VERSION} ${sa_blas_module}\n")
  string(APPEND sa_layer_pc_needs "Libs: -L\${libdir} -lsa_layer${sa_blas_libs} -lm")
endif()
configure_file(${CMAKE_CURRENT_LIST_DIR}/sa_layer.pc.in ${PROJECT_BINARY_DIR}/sa_layer.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/sa_layer.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT development)
