/* SPDX-License-Identifier: MIT */
/*
 * The parts follow each other, each on a 64-byte boundary:
 *
 *     tiles | qt | s | mb | alpha | units | near | scale | view | rows | turned | copies | terms |
 *     lo hi sink slopes | result m l o | child[0] m l o | ... | the same beside | ...
 *
 * Under AddressSanitizer a poisoned red zone separates them, so that a kernel that leaves its part is caught.
 */
#include "workspace.h"

#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif

#ifdef WITH_ASAN
#include <sanitizer/asan_interface.h>
enum { RED_ZONE_BYTES = 256 };
static void poison(void *at, size_t bytes) { __asan_poison_memory_region(at, bytes); }
static void unpoison(void *at, size_t bytes) { __asan_unpoison_memory_region(at, bytes); }
#else
enum { RED_ZONE_BYTES = 0 };
static void poison(void *at, size_t bytes) {
    (void)at;
    (void)bytes;
}
static void unpoison(void *at, size_t bytes) { poison(at, bytes); }
#endif

/* With base NULL it only counts. */
struct booking {
    char *base;
    size_t used;
};

static void *book(struct booking *booking, size_t bytes) {
    char *part = booking->base ? booking->base + booking->used : NULL;
    size_t rounded = (bytes + 63) / 64 * 64;
    booking->used += rounded + RED_ZONE_BYTES;
    if (part)
        poison(part + rounded, RED_ZONE_BYTES);
    return part;
}

static float *book_rows(struct booking *booking, int n) {
    return book(booking, (size_t)n * SA_TILE_ROWS * sizeof(float));
}

/* o of so many rows in lanes, or of few as few.c has them. */
static size_t o_floats(size_t n_rows, int d_v) {
    const size_t in_lanes = n_rows * (size_t)d_v, few = (size_t)(SA_FEW_ROWS * sa_near_stride(d_v));
    return in_lanes > few ? in_lanes : few;
}

static struct sa_state book_state(struct booking *booking, int d_v) {
    float *m = book_rows(booking, 1), *l = book_rows(booking, 1);
    return (struct sa_state){m, l, book(booking, o_floats(SA_TILE_ROWS, d_v) * sizeof(float))};
}

static void book_terms(struct booking *booking, struct sa_term_space *terms) {
    terms->q_at = book(booking, SA_TILE_ROWS * sizeof *terms->q_at);
    terms->k_at = book(booking, SA_BLOCK_KEYS * sizeof *terms->k_at);
    terms->q_position = book(booking, SA_TILE_ROWS * sizeof *terms->q_position);
    terms->bias = book(booking, SA_TILE_ROWS * sizeof *terms->bias);
    terms->bias_row = book(booking, SA_TILE_ROWS * sizeof *terms->bias_row);
    terms->near = book(booking, SA_TILE_ROWS * SA_BIAS_STRIDE * sizeof(float));
}

/* What each of the tiles abreast has for itself. */
static void book_own(struct booking *booking, struct sa_workspace *space) {
    space->lo = book(booking, SA_TILE_ROWS * sizeof *space->lo);
    space->hi = book(booking, SA_TILE_ROWS * sizeof *space->hi);
    space->sink = book(booking, SA_TILE_ROWS * sizeof *space->sink);
    space->terms.slopes = book_rows(booking, 1);
    space->result = book_state(booking, space->room.d_v);
    for (int i = 0; i < SA_TREE_LEVELS; i++)
        space->child[i] = book_state(booking, space->room.d_v);
}

static void book_beside(struct booking *booking, struct sa_workspace *space) {
    struct sa_workspace counted;
    space->beside = book(booking, (size_t)(space->room.n_abreast - 1) * sizeof *space->beside);
    for (int i = 1; i < space->room.n_abreast; i++) {
        struct sa_workspace *beside = booking->base ? &space->beside[i - 1] : &counted;
        *beside = *space;
        book_own(booking, beside);
    }
}

/* Of the most that are worked on side by side. */
static size_t side_blocks(struct sa_room room) {
    return (size_t)(room.n_abreast > SA_CHUNK_BLOCKS ? room.n_abreast : SA_CHUNK_BLOCKS);
}

/* Scores: of a tile's block, or of few rows of each block side by side. */
static size_t scores(struct sa_room room) {
    const size_t few = side_blocks(room) * SA_FEW_ROWS * SA_FEW_STRIDE;
    return few > SA_BLOCK_KEYS * SA_TILE_ROWS ? few : SA_BLOCK_KEYS * SA_TILE_ROWS;
}

/* For two tiles where any go abreast. */
static float *book_queries(struct booking *booking, struct sa_room room) {
    return book(booking, (room.n_abreast > 1 ? 2 : 1) * sa_queries_floats(room.d_qk) * sizeof(float));
}

static void book_turned(struct booking *booking, struct sa_workspace *space) {
    space->turned = book(booking, (size_t)space->room.n_turned * sizeof *space->turned);
    for (int i = 0; i < space->room.n_turned; i++) {
        void *values = book(booking, space->room.turned_bytes);
        if (booking->base)
            space->turned[i].values = values;
    }
}

static void book_copies(struct booking *booking, struct sa_workspace *space) {
    space->copies = book(booking, (size_t)space->room.n_copies * sizeof *space->copies);
    for (int i = 0; i < space->room.n_copies; i++) {
        void *k = book(booking, space->room.copy_bytes[SA_COPY_K]),
             *v = book(booking, space->room.copy_bytes[SA_COPY_V]);
        if (booking->base) {
            space->copies[i].of[SA_COPY_K].rows = k;
            space->copies[i].of[SA_COPY_V].rows = v;
        }
    }
}

/* Rows of a block, or sums of few rows of blocks side by side, as floats or of digits, which are more than what
 * sa_dots_block calls scratch. */
static size_t near_floats(struct sa_room room) {
    const int d = room.d_qk > room.d_v ? room.d_qk : room.d_v;
    const size_t rows = SA_BLOCK_KEYS * (size_t)sa_near_stride(d);
    const size_t digits = side_blocks(room) * SA_FEW_ROWS * SA_BYTES_DIGITS * (size_t)sa_bytes_stride(room.d_v);
    return digits > rows ? digits : rows;
}

static void book_all(struct booking *booking, struct sa_workspace *space, struct sa_room room) {
    space->room = room;
    space->tiles = book(booking, (size_t)room.n_abreast * SA_TILE_BYTES);
    space->qt = book_queries(booking, room);
    space->s = book(booking, scores(room) * sizeof(float));
    space->mb = book_rows(booking, 1);
    space->alpha = book(booking, SA_SIDE_BLOCKS * SA_GROUP_ROWS * sizeof(float));
    space->units = book(booking, SA_SIDE_BLOCKS * 2 * SA_FEW_ROWS * sizeof(float));
    space->near = book(booking, near_floats(room) * sizeof(float));
    space->scale = book(booking, SA_BLOCK_KEYS * sizeof(float));
    space->view = book(booking, sizeof *space->view);
    space->rows = book(booking, SA_SIDE_BLOCKS * SA_LIST_ROWS * sizeof *space->rows);
    book_turned(booking, space);
    book_copies(booking, space);
    book_terms(booking, &space->terms);
    book_own(booking, space);
    book_beside(booking, space);
}

size_t sa_workspace_bytes(struct sa_room room) {
    struct booking booking = {NULL, 0};
    struct sa_workspace counted = {.room = room};
    book_all(&booking, &counted, room);
    return booking.used;
}

static bool fits(const struct sa_workspace *space, struct sa_room room) {
    const struct sa_room *has = &space->room;
    return space->buffer.data && has->d_qk == room.d_qk && has->d_v == room.d_v && has->n_abreast >= room.n_abreast &&
           has->n_turned >= room.n_turned && has->turned_bytes >= room.turned_bytes && has->n_copies >= room.n_copies &&
           has->copy_bytes[SA_COPY_K] >= room.copy_bytes[SA_COPY_K] &&
           has->copy_bytes[SA_COPY_V] >= room.copy_bytes[SA_COPY_V];
}

/* What an earlier call had there may have changed since. */
static void forget_what_is_kept(const struct sa_workspace *space) {
    for (int i = 0; i < space->room.n_copies; i++)
        space->copies[i].of[SA_COPY_K].at = space->copies[i].of[SA_COPY_V].at = -1;
    for (int i = 0; i < space->room.n_turned; i++)
        space->turned[i].at = -1;
}

bool sa_workspace_grant(struct sa_workspace *space, struct sa_room room) {
    if (!fits(space, room)) {
        if (space->buffer.data)
            unpoison(space->buffer.data, space->buffer.capacity_bytes);
        if (!sa_buffer_reserve(&space->buffer, sa_workspace_bytes(room))) {
            sa_workspace_forget_layout(space);
            return false;
        }
        struct booking booking = {space->buffer.data, 0};
        book_all(&booking, space, room);
    }
    forget_what_is_kept(space);
    return true;
}

bool sa_workspace_offer(struct sa_workspace *space, size_t bytes) {
    return bytes <= space->buffer.capacity_bytes || sa_buffer_reserve(&space->offered, bytes);
}

static struct sa_buffer detach(struct sa_workspace *space) {
    struct sa_buffer old = space->buffer;
    if (old.data)
        unpoison(old.data, old.capacity_bytes);
    space->buffer = (struct sa_buffer){0};
    sa_workspace_forget_layout(space);
    return old;
}

struct sa_buffer sa_workspace_take_up(struct sa_workspace *space) {
    if (!space->offered.data)
        return (struct sa_buffer){0};
    struct sa_buffer old = detach(space);
    space->buffer = space->offered;
    space->offered = (struct sa_buffer){0};
    return old;
}

void sa_workspace_forget_layout(struct sa_workspace *space) { space->room = (struct sa_room){0}; }

void sa_workspace_free(struct sa_workspace *space) {
    struct sa_buffer old = detach(space);
    sa_buffer_free(&old);
    sa_buffer_free(&space->offered);
}

/* ---------------------------------------------------------------- results of parts
 * A slot is m l o, o of as many rows as the passes of the largest tile have, m and l of a whole tile.
 */

static size_t slot_bytes(int n_rows, int pass_rows, int d_v) {
    const size_t rows = (size_t)((n_rows + pass_rows - 1) / pass_rows * pass_rows);
    const size_t floats = 2 * SA_TILE_ROWS + o_floats(rows, d_v);
    return floats * sizeof(float) + RED_ZONE_BYTES;
}

static size_t count_bytes(int64_t n_slots) { return (size_t)n_slots * SA_TREE_LEVELS * sizeof(int32_t); }

size_t sa_partials_bytes(int64_t n_slots, int n_rows, int pass_rows, int d_v) {
    return (size_t)n_slots * slot_bytes(n_rows, pass_rows, d_v) + count_bytes(n_slots);
}

static void unpoison_states(const struct sa_partials *partials) {
    if (partials->state_buffer.data)
        unpoison(partials->state_buffer.data, partials->state_buffer.capacity_bytes);
}

bool sa_partials_grant(struct sa_partials *partials, int64_t n_slots, int n_rows, int pass_rows, int d_v) {
    const size_t bytes = slot_bytes(n_rows, pass_rows, d_v);
    unpoison_states(partials);
    partials->n_slots = 0;
    if (!sa_buffer_reserve(&partials->state_buffer, (size_t)n_slots * bytes) ||
        !sa_buffer_reserve(&partials->count_buffer, count_bytes(n_slots)))
        return false;
    partials->slot_bytes = bytes;
    partials->n_slots = n_slots;
    partials->counts = partials->count_buffer.data;
    for (int64_t slot = 0; slot < n_slots && RED_ZONE_BYTES; slot++)
        poison((char *)partials->state_buffer.data + (size_t)(slot + 1) * bytes - RED_ZONE_BYTES, RED_ZONE_BYTES);
    return true;
}

void sa_partials_clear(struct sa_partials *partials) {
    if (partials->n_slots)
        memset(partials->counts, 0, count_bytes(partials->n_slots));
}

struct sa_state sa_partials_state(const struct sa_partials *partials, int64_t slot) {
    float *m = (float *)(void *)((char *)partials->state_buffer.data + (size_t)slot * partials->slot_bytes);
    return (struct sa_state){m, m + SA_TILE_ROWS, m + 2 * SA_TILE_ROWS};
}

void sa_partials_free(struct sa_partials *partials) {
    unpoison_states(partials);
    sa_buffer_free(&partials->state_buffer);
    sa_buffer_free(&partials->count_buffer);
}
