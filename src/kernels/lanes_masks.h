/* SPDX-License-Identifier: MIT */
/* Keys that some rows do not see: their scores, and their values. Included by lanes.h. */
#ifndef SA_LANES_MASKS_H
#define SA_LANES_MASKS_H

static void lanes_mask(int g, int n_keys, int first_key, struct sa_lane_keys keys, float *s, float *mb) {
    for (int lane = g * SA_GROUP_ROWS; lane < (g + 1) * SA_GROUP_ROWS; lane += LANES) {
        vf best = v_load(mb + lane);
        for (int j = 0; j < n_keys; j++) {
            float *at = s + j * W + lane;
            vf score = v_select(visible(keys, lane, first_key + j), v_load(at), v_set1(-INFINITY));
            v_store(at, score);
            best = v_max(best, score);
        }
        v_store(mb + lane, best);
    }
}

static void lanes_scores_none(int g, int n_keys, float *s) {
    for (int j = 0; j < n_keys; j++)
        for (int lane = g * SA_GROUP_ROWS; lane < (g + 1) * SA_GROUP_ROWS; lane += LANES)
            v_store(s + j * W + lane, v_set1(-INFINITY));
}

/* x * 0 is NaN for what is not finite, and NaN stays. Elements that have scales are whole numbers. */
static bool lanes_finite(struct sa_rows rows) {
    if (rows.scale)
        return lanes_finite((struct sa_rows){rows.scale, 1, rows.n, 1, NULL});
    vf sum[4] = {v_set1(0.0f), v_set1(0.0f), v_set1(0.0f), v_set1(0.0f)};
    float rest = 0.0f;
    for (int j = 0; j < rows.n; j++) {
        const float *row = rows.data + j * rows.stride;
        int c = 0;
        for (; c + 4 * LANES <= rows.d; c += 4 * LANES)
            UNROLL
        for (int i = 0; i < 4; i++)
            sum[i] = v_fma(v_load_any(row + c + i * LANES), v_set1(0.0f), sum[i]);
        for (; c + LANES <= rows.d; c += LANES)
            sum[0] = v_fma(v_load_any(row + c), v_set1(0.0f), sum[0]);
        for (; c < rows.d; c++)
            rest += row[c] * 0.0f;
    }
    vf all = (sum[0] + sum[1]) + (sum[2] + sum[3]);
    return !m_any(m_not(v_equal(all, all))) && rest == rest;
}

/* One dimension after the other: only blocks with NaN or inf at the edge of what is seen come here. */
static void lanes_values_masked(const float *p, int g, struct sa_rows v, int first_key, struct sa_lane_keys keys,
                                const float *alpha, float *o) {
    for (int lane = g * SA_GROUP_ROWS; lane < (g + 1) * SA_GROUP_ROWS; lane += LANES)
        for (int c = 0; c < v.d; c++) {
            float *at = o + c * W + lane;
            vf sum = v_set1(0.0f);
            for (int j = 0; j < v.n; j++)
                sum = v_fma_where(visible(keys, lane, first_key + j), v_load(p + j * W + lane),
                                  v_set1(v.data[j * v.stride + c]), sum);
            v_store(at, v_fma(v_load(at), v_load(alpha + lane), sum));
        }
}

#endif
