/* Included twice by _decode.c. Loops are written so that the innermost one runs over neighbours in
 * memory, which the compiler then makes wide. */

#ifndef DECODE_STEP
#define DECODE_STEP
#define BLOCK 16 /* tokens whose keys lie together, as in decode.py */
#define AHEAD 32 /* rows */
#define MOST 6 /* heads at a time: their sums of 16 columns, and what they are made of, fill the registers */
/* Eight floats anywhere in memory; where registers hold four, the compiler takes two. */
typedef float Eight __attribute__((vector_size(32), aligned(4), may_alias));
typedef struct {
    int64_t lines, heads, kv_heads, width; /* width of a head */
    int64_t capacity, prompt_width;        /* tokens of a line's own, and of a prompt; whole blocks */
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

/* scores[h][t] = q[h] . keys[t] of `n` heads that share keys [blocks, width, BLOCK], so that a block's
 * tokens are neighbours and the whole is read from front to back. Whole blocks are filled in. `n` is
 * a constant where it is called: the sums then stay in registers while the keys pass by. */
static inline __attribute__((always_inline)) void NAME(dots)(
    const int n, const float *q, const float *keys, int64_t width, int64_t to, float *scores,
    int64_t room) {
    for (int64_t t = 0; t < to; t += BLOCK) {
        Eight first[MOST] = {{0}}, second[MOST] = {{0}};
        for (int64_t d = 0; d < width; d++, keys += BLOCK) {
            const Eight *k = (const Eight *)keys;
            Eight low = k[0], high = k[1];
            __builtin_prefetch(keys + AHEAD * BLOCK);
#pragma GCC unroll 6
            for (int h = 0; h < n; h++) {
                first[h] += q[h * width + d] * low;
                second[h] += q[h * width + d] * high;
            }
        }
#pragma GCC unroll 6
        for (int h = 0; h < n; h++) {
            Eight *to_here = (Eight *)(scores + h * room + t);
            to_here[0] = first[h];
            to_here[1] = second[h];
        }
    }
}

/* out[h] += sum_t weights[h][t] values[t] of `n` heads; values [., width]. */
static inline __attribute__((always_inline)) void NAME(mix)(
    const int n, const float *weights, int64_t room, const float *values, int64_t width,
    int64_t to, float *out) {
    int64_t d = 0;
    for (; d + 16 <= width; d += 16) {
        Eight first[MOST] = {{0}}, second[MOST] = {{0}};
        for (int64_t t = 0; t < to; t++) {
            const Eight *v = (const Eight *)(values + t * width + d);
            __builtin_prefetch(values + (t + AHEAD) * width + d);
            Eight low = v[0], high = v[1];
#pragma GCC unroll 6
            for (int h = 0; h < n; h++) {
                first[h] += weights[h * room + t] * low;
                second[h] += weights[h * room + t] * high;
            }
        }
#pragma GCC unroll 6
        for (int h = 0; h < n; h++) {
            Eight *to_here = (Eight *)(out + h * width + d);
            to_here[0] += first[h];
            to_here[1] += second[h];
        }
    }
    for (; d < width; d++)
        for (int h = 0; h < n; h++)
            for (int64_t t = 0; t < to; t++)
                out[h * width + d] += weights[h * room + t] * values[t * width + d];
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

/* Attention of `n` heads that share keys: `length` tokens of the prompt, then `own` of the line. */
static inline __attribute__((always_inline)) void NAME(heads)(
    const int n, const float *q, const float *K, const float *V, int64_t C, int64_t own,
    const float *PK, const float *PV, int64_t L, int64_t length, int64_t width, float *scores,
    float *out) {
    int64_t room = L + C;
    NAME(dots)(n, q, PK, width, length, scores, room);
    NAME(dots)(n, q, K, width, own, scores + L, room);
    float sums[MOST];
    for (int h = 0; h < n; h++) {
        float *there = scores + h * room, *here = there + L;
        float top = NAME(largest)(here, own, NAME(largest)(there, length, -3e38f));
        sums[h] = NAME(exps)(there, length, top) + NAME(exps)(here, own, top);
    }
    for (int64_t i = 0; i < n * width; i++) out[i] = 0;
    NAME(mix)(n, scores, room, PV, width, length, out);
    NAME(mix)(n, scores + L, room, V, width, own, out);
    for (int h = 0; h < n; h++)
        for (int64_t d = 0; d < width; d++) out[h * width + d] /= sums[h];
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
            float *block = K + now / BLOCK * BLOCK * width + now % BLOCK;
            for (int64_t d = 0; d < width; d++) block[d * BLOCK] = key[g * width + d];
            memcpy(V + now * width, value + g * width, (size_t)width * sizeof(float));
            float *q = query + g * shared * width, *o = out + (line * heads + g * shared) * width;
            for (int64_t i = 0; i < shared * width; i++) q[i] *= s->scale;
            for (int64_t h = 0; h < shared;) {
                int64_t n = shared - h < MOST ? shared - h : MOST;
                if (shared - h > MOST && shared - h < 2 * MOST) n = (shared - h + 1) / 2;
#define HEADS(N)                                                                               \
    NAME(heads)(N, q + h * width, K, V, C, now + 1, PK, PV, L, length, width, scores, o + h * width)
                if (n == 6) HEADS(6);
                else if (n == 5) HEADS(5);
                else if (n == 4) HEADS(4);
                else if (n == 3) HEADS(3);
                else if (n == 2) HEADS(2);
                else HEADS(1);
#undef HEADS
                h += n;
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
