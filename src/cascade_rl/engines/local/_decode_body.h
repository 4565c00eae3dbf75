/* Included twice by _decode.c. Loops are written so that the innermost one runs over neighbours in
 * memory, which the compiler then makes wide. */

#ifndef DECODE_STEP
#define DECODE_STEP
typedef struct {
    int64_t lines, heads, kv_heads, width; /* width of a head */
    int64_t capacity, prompt_width;        /* columns of a line's own, and of a prompt */
    float eps, scale;
    const int64_t *prompt_of;   /* [lines] */
    const int64_t *prompt_length; /* [prompts] */
    const int64_t *length;      /* [lines] tokens that the line has in its own cache */
} Step;
#endif

/* e^x for x <= 0; 2^n times a polynomial, 1e-7 relative. */
static inline float NAME(negative_exp)(float x) {
    x = x < -87.0f ? -87.0f : x;
    float n = (float)(int32_t)(x * 1.44269504088896341f - 0.5f);
    float r = x - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    union { int32_t i; float f; } two = {((int32_t)n + 127) << 23};
    return p * two.f;
}

static void NAME(norm)(const float *x, const float *weight, float *out, int64_t rows,
                       int64_t width, float eps) {
    for (int64_t r = 0; r < rows; r++, x += width, out += width) {
        float sum = 0;
        for (int64_t i = 0; i < width; i++) sum += x[i] * x[i];
        float scale = 1.0f / sqrtf(sum / (float)width + eps);
        for (int64_t i = 0; i < width; i++) out[i] = x[i] * scale * weight[i];
    }
}

/* out = silu(gate) * up of rows [gate, up]. */
static void NAME(gate)(const float *gate_up, float *out, int64_t rows, int64_t width) {
    for (int64_t r = 0; r < rows; r++, gate_up += 2 * width, out += width) {
        for (int64_t i = 0; i < width; i++) {
            float g = gate_up[i], e = NAME(negative_exp)(-fabsf(g));
            float above = 1.0f / (1.0f + e), below = e * above;
            out[i] = g * (g >= 0 ? above : below) * gate_up[width + i];
        }
    }
}

static inline void NAME(turn)(float *x, const float *cosines, const float *sines, int64_t width) {
    int64_t half = width / 2;
    for (int64_t i = 0; i < half; i++) {
        float a = x[i], b = x[half + i];
        x[i] = a * cosines[i] - b * sines[i];
        x[half + i] = b * cosines[half + i] + a * sines[half + i];
    }
}

/* scores[t] = q . keys[:, t], keys [width, stride]. */
static inline void NAME(dots)(const float *q, const float *keys, int64_t width, int64_t stride,
                              int64_t to, float *scores) {
    for (int64_t t = 0; t < to; t++) scores[t] = 0;
    int64_t d = 0;
    for (; d + 4 <= width; d += 4) {
        const float *a = keys + d * stride, *b = a + stride, *c = b + stride, *e = c + stride;
        float qa = q[d], qb = q[d + 1], qc = q[d + 2], qe = q[d + 3];
        for (int64_t t = 0; t < to; t++)
            scores[t] += qa * a[t] + qb * b[t] + qc * c[t] + qe * e[t];
    }
    for (; d < width; d++) {
        const float *a = keys + d * stride;
        for (int64_t t = 0; t < to; t++) scores[t] += q[d] * a[t];
    }
}

/* out += sum_t weights[t] values[t]; values [., width]. */
static inline void NAME(mix)(const float *weights, const float *values, int64_t width, int64_t to,
                             float *out) {
    int64_t t = 0;
    for (; t + 4 <= to; t += 4) {
        const float *a = values + t * width, *b = a + width, *c = b + width, *e = c + width;
        float wa = weights[t], wb = weights[t + 1], wc = weights[t + 2], we = weights[t + 3];
        for (int64_t d = 0; d < width; d++) out[d] += wa * a[d] + wb * b[d] + wc * c[d] + we * e[d];
    }
    for (; t < to; t++)
        for (int64_t d = 0; d < width; d++) out[d] += weights[t] * values[t * width + d];
}

static inline float NAME(largest)(const float *x, int64_t to, float so_far) {
    for (int64_t t = 0; t < to; t++) so_far = x[t] > so_far ? x[t] : so_far;
    return so_far;
}

static inline float NAME(exps)(float *x, int64_t to, float largest) {
    float sum = 0;
    for (int64_t t = 0; t < to; t++) {
        x[t] = NAME(negative_exp)(x[t] - largest);
        sum += x[t];
    }
    return sum;
}

/* Norm and turn query and key, put key and value in the cache, attend to prompt and own tokens. */
static void NAME(attend)(const Step *s, float *qkv, const float *q_norm, const float *k_norm,
                         const float *cosines, const float *sines, float *keys, float *values,
                         const float *prompt_keys, const float *prompt_values, float *scores,
                         float *out) {
    int64_t width = s->width, heads = s->heads, kv = s->kv_heads, shared = heads / kv;
    int64_t C = s->capacity, L = s->prompt_width;
    for (int64_t line = 0; line < s->lines; line++) {
        float *query = qkv + line * (heads + 2 * kv) * width;
        float *key = query + heads * width, *value = key + kv * width;
        const float *cosine = cosines + line * width, *sine = sines + line * width;
        if (q_norm) NAME(norm)(query, q_norm, query, heads, width, s->eps);
        if (k_norm) NAME(norm)(key, k_norm, key, kv, width, s->eps);
        for (int64_t h = 0; h < heads + kv; h++) NAME(turn)(query + h * width, cosine, sine, width);
        int64_t prompt = s->prompt_of[line], now = s->length[line];
        int64_t length = s->prompt_length[prompt];
        for (int64_t g = 0; g < kv; g++) {
            float *K = keys + (line * kv + g) * width * C, *V = values + (line * kv + g) * C * width;
            const float *PK = prompt_keys + (prompt * kv + g) * width * L;
            const float *PV = prompt_values + (prompt * kv + g) * L * width;
            for (int64_t d = 0; d < width; d++) K[d * C + now] = key[g * width + d];
            memcpy(V + now * width, value + g * width, (size_t)width * sizeof(float));
            for (int64_t h = g * shared; h < (g + 1) * shared; h++) {
                float *q = query + h * width, *o = out + (line * heads + h) * width;
                float *own = scores + L;
                for (int64_t d = 0; d < width; d++) q[d] *= s->scale;
                NAME(dots)(q, PK, width, L, length, scores);
                NAME(dots)(q, K, width, C, now + 1, own);
                float top = NAME(largest)(scores, length, -3e38f);
                top = NAME(largest)(own, now + 1, top);
                float sum = NAME(exps)(scores, length, top);
                sum += NAME(exps)(own, now + 1, top);
                for (int64_t d = 0; d < width; d++) o[d] = 0;
                NAME(mix)(scores, PV, width, length, o);
                NAME(mix)(own, V, width, now + 1, o);
                for (int64_t d = 0; d < width; d++) o[d] /= sum;
            }
        }
    }
}

/* A token a row by inverse CDF of softmax(logits / T); (logprob, logprob, entropy) of each. */
static void NAME(choose)(const float *logits, int64_t rows, int64_t vocabulary, float temperature,
                         const double *uniforms, const uint8_t *greedy, float *work, int64_t *ids,
                         float *scores) {
    float inverse = 1.0f / temperature;
    for (int64_t r = 0; r < rows; r++, logits += vocabulary, scores += 3) {
        float top = NAME(largest)(logits, vocabulary, -3e38f);
        float sum = 0, moment = 0;
        for (int64_t i = 0; i < vocabulary; i++) {
            float x = (logits[i] - top) * inverse;
            float p = NAME(negative_exp)(x);
            work[i] = p;
            sum += p;
            moment += p * x;
        }
        int64_t chosen = vocabulary - 1;
        if (greedy[r]) {
            for (chosen = 0; logits[chosen] != top && chosen < vocabulary - 1;) chosen++;
        } else {
            double before = 0, total = 0;
            int64_t block = 0;
            for (int64_t i = 0; i < vocabulary; i += 64) {
                float part = 0;
                int64_t end = i + 64 < vocabulary ? i + 64 : vocabulary;
                for (int64_t j = i; j < end; j++) part += work[j];
                total += part;
            }
            double target = uniforms[r] * total;
            for (; block + 64 < vocabulary; block += 64) {
                float part = 0;
                for (int64_t j = block; j < block + 64; j++) part += work[j];
                if (before + part > target) break;
                before += part;
            }
            for (int64_t j = block; j < vocabulary; j++) {
                before += work[j];
                if (before > target) {
                    chosen = j;
                    break;
                }
            }
        }
        float mass = logf(sum), logprob = (logits[chosen] - top) * inverse - mass;
        ids[r] = chosen;
        scores[0] = scores[1] = logprob;
        scores[2] = mass - moment / sum;
    }
}
