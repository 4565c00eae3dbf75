/* One decoding step's small parts in float32 on a CPU: what lies between its matrix products.
 *
 * decode.py says what each does and does the same in torch; a test holds both equal. It is called
 * through ctypes with buffers that the caller owns, and needs libc and libm only. The body is
 * compiled twice, for AVX2 with FMA and for any machine; `decode_wide` says which one runs.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

#define WIDE 0
#define NAME(x) x##_plain
#include "_decode_body.h"
#undef NAME
#undef WIDE

#if defined(__x86_64__) && defined(__GNUC__)
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#define WIDE 1
#define NAME(x) x##_wide
#include "_decode_body.h"
#undef NAME
#undef WIDE
#pragma GCC pop_options
int decode_wide(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
#define PICK(x) (decode_wide() ? x##_wide : x##_plain)
#else
int decode_wide(void) { return 0; }
#define PICK(x) x##_plain
#endif

void decode_norm(const float *x, const float *weight, float *out, int64_t rows, int64_t width,
                 float eps) {
    PICK(norm)(x, weight, out, rows, width, eps);
}

void decode_gate(const float *gate_up, float *out, int64_t rows, int64_t width) {
    PICK(gate)(gate_up, out, rows, width);
}

void decode_attend(const Step *step, float *qkv, const float *q_norm, const float *k_norm,
                   const float *cosines, const float *sines, float *keys, float *values,
                   const float *prompt_keys, const float *prompt_values, float *scores,
                   float *out) {
    PICK(attend)(step, qkv, q_norm, k_norm, cosines, sines, keys, values, prompt_keys,
                 prompt_values, scores, out);
}

void decode_choose(const float *logits, int64_t rows, int64_t vocabulary, float temperature,
                   const double *uniforms, const uint8_t *greedy, float *work, int64_t *ids,
                   float *scores) {
    PICK(choose)(logits, rows, vocabulary, temperature, uniforms, greedy, work, ids, scores);
}
