/* N-gram keys of many texts: what ngrams.py does in Python, at the speed of a corpus.
 *
 * The rules are those of normal.py (words), boilerplate.py (phrases) and ngrams.py (keys); a
 * property test holds both equal. It needs neither Python's headers nor its lock: it is called
 * through ctypes with buffers that the caller owns. Texts are UTF-8; a character outside ASCII is
 * replaced by what `fold` has for it, and where it has nothing the call ends and says which.
 */
#define _GNU_SOURCE /* memmem */
#include <stdint.h>
#include <string.h>

#define BREAK 0x1f /* no n-gram spans it */
#define LONGEST_HEADING 40 /* characters, as in boilerplate.py */
#define MOST_DIGITS 256 /* of a number; the others say no more */
#define SCRIPT 0x01 /* before the folding of a raised digit */

static const uint64_t START = 14695981039346656037ULL;
static const uint64_t PRIME = 0xff51afd7ed558ccdULL;
static const uint64_t BASE = 0x9e3779b97f4a7c15ULL; /* of the polynomial of word hashes */

typedef struct {
    const uint32_t *fold;       /* by code point: place in pool, or 0 where it is not known */
    const uint8_t *pool;        /* texts that end in 0 */
    const uint64_t *dropped;    /* sorted hashes of commands that are no words */
    int64_t dropped_count;
    const uint64_t *phrases;    /* word hashes of all phrases; 0 is any word */
    const int64_t *phrase_ends;
    const int64_t *buckets;     /* first phrase of each of 1024 buckets by its first two words */
    const uint8_t *begins;      /* by the low 10 bits of a word: 1 where it may begin a phrase */
} Rules;

static inline uint64_t finish(uint64_t hash) {
    hash ^= hash >> 32;
    hash *= 0xd6e8feb86659fd93ULL;
    hash ^= hash >> 32;
    return hash ? hash : 1; /* 0 is a break */
}

static inline int is_digit(uint8_t c) { return c >= '0' && c <= '9'; }
static inline int is_lower(uint8_t c) { return c >= 'a' && c <= 'z'; }

/* 64 bits of a word: eight bytes at a time, the last ones filled up with 0. `SLACK` bytes behind
 * the word can be read. */
#define SLACK 8
static inline uint64_t hash_of(const uint8_t *p, const uint8_t *end) {
    uint64_t hash = START ^ (uint64_t)(end - p), part;
    for (; p < end; p += 8) {
        memcpy(&part, p, 8);
        if (end - p < 8) part &= ~0ULL >> (8 * (8 - (end - p)));
        hash = (hash ^ part) * PRIME;
        hash ^= hash >> 32;
    }
    return finish(hash);
}

/* One code point of valid UTF-8 (surrogates included); moves `at` behind it. */
static inline uint32_t decode(const uint8_t **at) {
    const uint8_t *p = *at;
    if (p[0] < 0xe0) {
        *at = p + 2;
        return ((p[0] & 0x1fu) << 6) | (p[1] & 0x3fu);
    }
    if (p[0] < 0xf0) {
        *at = p + 3;
        return ((p[0] & 0x0fu) << 12) | ((p[1] & 0x3fu) << 6) | (p[2] & 0x3fu);
    }
    *at = p + 4;
    return ((p[0] & 0x07u) << 18) | ((p[1] & 0x3fu) << 12) | ((p[2] & 0x3fu) << 6) | (p[3] & 0x3fu);
}

/* Out without apostrophes, and without the backslash and mark of an accent. Returns its length. */
static int64_t without_marks(uint8_t *out, int64_t length) {
    uint8_t *to = out, *last = out + length;
    for (const uint8_t *p = out; p < last; p++) {
        if (*p == '\'') continue;
        if (*p == '\\' && last - p > 2 && p[1] && strchr("'\"`^~", p[1]) && is_lower(p[2])) {
            p++;
            continue;
        }
        *to++ = *p;
    }
    return to - out;
}

/* `normal.plain`. Returns the length of out; -1 with the code point that fold lacks, or -2 where
 * there is not enough room. */
static int64_t plain(const Rules *rules, const uint8_t *text, const uint8_t *end, uint8_t *out,
                     int64_t room, int64_t *unknown) {
    int64_t length = end - text;
    uint8_t high = 0;
    if (length > room) return -2;
    for (int64_t i = 0; i < length; i++) { /* the compiler makes this wide */
        uint8_t c = text[i];
        high |= c;
        out[i] = c | (uint8_t)((c >= 'A' && c <= 'Z') << 5);
    }
    if (high < 0x80) {
        if (memchr(out, '\'', (size_t)length) || memchr(out, '\\', (size_t)length))
            return without_marks(out, length);
        return length;
    }
    uint8_t *to = out;
    const uint8_t *limit = out + room;
    int raised = 0;
    while (text < end) {
        uint8_t c = *text;
        if (c < 0x80) {
            if (to == limit) return -2;
            *to++ = (c >= 'A' && c <= 'Z') ? c | 0x20 : c;
            raised = 0;
            text++;
            continue;
        }
        uint32_t point = decode(&text);
        uint32_t place = rules->fold[point];
        if (!place) {
            *unknown = point;
            return -1;
        }
        const uint8_t *folded = rules->pool + place;
        int script = *folded == SCRIPT;
        if (limit - to < 64) return -2; /* no folding is longer */
        if (script) {
            folded++;
            if (!raised) *to++ = ' ';
        }
        raised = script;
        while (*folded) *to++ = *folded++;
    }
    return without_marks(out, to - out);
}

static int is_dropped(const Rules *rules, uint64_t hash) {
    int64_t low = 0, high = rules->dropped_count;
    while (low < high) {
        int64_t middle = (low + high) / 2;
        if (rules->dropped[middle] < hash) low = middle + 1;
        else high = middle;
    }
    return low < rules->dropped_count && rules->dropped[low] == hash;
}

/* What a backslash begins; adds its word where it is one. Returns the place behind it. */
static const uint8_t *command(const Rules *rules, const uint8_t *p, const uint8_t *end,
                              uint64_t *words, int64_t *count) {
    const uint8_t *name = p + 1, *q = name;
    while (q < end && is_lower(*q)) q++;
    if (q == name) { /* any other character, all of its bytes */
        if (q < end && *q == BREAK) return q;
        if (q < end && *q++ >= 0x80)
            while (q < end && (*q & 0xc0) == 0x80) q++;
        return q;
    }
    int64_t length = q - name;
    if (q < end && *q == '{' &&
        ((length == 5 && !memcmp(name, "begin", 5)) || (length == 3 && !memcmp(name, "end", 3)))) {
        const uint8_t *r = q + 1;
        while (r < end && (is_lower(*r) || *r == '*')) r++;
        if (r < end && *r == '}') return r + 1;
    }
    if (!is_dropped(rules, hash_of(name, q))) {
        if (length > 3 && !memcmp(name, "var", 3)) name += 3;
        words[(*count)++] = hash_of(name, q);
    }
    return q;
}

/* Bytes of a thousands separator at p that three digits follow and no fourth; else 0. */
static inline int thousands(const uint8_t *p, const uint8_t *end) {
    int64_t left = end - p;
    int size = 0;
    if (left < 4) return 0;
    if (p[0] == ',') size = (p[1] == '\\' && p[2] == '!') ? 3 : 1;
    else if (p[0] == '{' && p[1] == ',' && p[2] == '}') size = 3;
    else if (p[0] == '\\' && p[1] == ',') size = 2;
    if (!size || left < size + 3) return 0;
    p += size;
    if (!is_digit(p[0]) || !is_digit(p[1]) || !is_digit(p[2])) return 0;
    return (left > size + 3 && is_digit(p[3])) ? 0 : size;
}

/* A bit for every byte: letters, and what else `lex` stops at. 64 bytes to a pair of masks. */
static void classify(const uint8_t *text, int64_t length, uint64_t *letters, uint64_t *stops) {
    for (int64_t start = 0; start < length; start += 64) {
        uint8_t letter[64] = {0}, stop[64] = {0};
        int64_t size = length - start < 64 ? length - start : 64;
        uint64_t letter_mask = 0, stop_mask = 0, part;
        for (int64_t i = 0; i < size; i++) { /* the compiler makes this wide */
            uint8_t c = text[start + i];
            letter[i] = ((uint8_t)(c - 'a') < 26) | (c >> 7);
            stop[i] = ((uint8_t)(c - '0') < 10) | (c == '\\') | (c == BREAK);
        }
        for (int i = 0; i < 8; i++) { /* eight bytes of 0 and 1 to eight bits */
            memcpy(&part, letter + 8 * i, 8);
            letter_mask |= (part * 0x0102040810204080ULL >> 56) << (8 * i);
            memcpy(&part, stop + 8 * i, 8);
            stop_mask |= (part * 0x0102040810204080ULL >> 56) << (8 * i);
        }
        letters[start >> 6] = letter_mask;
        stops[start >> 6] = stop_mask | letter_mask;
    }
    letters[(length + 63) >> 6] = 0;
    stops[(length + 63) >> 6] = ~0ULL; /* whoever looks for a stop finds one */
}

/* The first bit from `at` on that is set in `masks ^ flip`. */
static inline int64_t next_bit(const uint64_t *masks, int64_t at, uint64_t flip) {
    uint64_t mask = (masks[at >> 6] ^ flip) & (~0ULL << (at & 63));
    for (at >>= 6; !mask; mask = masks[at] ^ flip) at++;
    return (at << 6) + __builtin_ctzll(mask);
}

/* `normal.words` as hashes, with 0 for a break. Returns how many. */
static int64_t lex(const Rules *rules, const uint8_t *text, int64_t length, uint64_t *letters,
                   uint64_t *stops, uint64_t *words) {
    const uint8_t *end = text + length;
    int64_t count = 0, at = 0;
    classify(text, length, letters, stops);
    while ((at = next_bit(stops, at, 0)) < length) {
        const uint8_t *p = text + at;
        if (letters[at >> 6] >> (at & 63) & 1) {
            at = next_bit(letters, at, ~0ULL);
            if (at > length) at = length;
            words[count++] = hash_of(p, text + at);
            continue;
        }
        if (*p == BREAK) {
            words[count++] = 0;
            p++;
        } else if (*p == '\\') {
            p = command(rules, p, end, words, &count);
        } else {
            uint8_t digits[MOST_DIGITS + SLACK];
            int64_t size = 0;
            int skip;
            do {
                for (; p < end && is_digit(*p); p++)
                    if (size < MOST_DIGITS) digits[size++] = *p;
                skip = thousands(p, end);
                p += skip;
            } while (skip);
            words[count++] = hash_of(digits, digits + size);
        }
        at = p - text;
    }
    return count;
}

/* Length of the longest phrase of a bucket that begins at words[0], or 0. */
static int64_t in_bucket(const Rules *rules, uint64_t start_of_phrase, const uint64_t *words,
                         int64_t left) {
    int64_t bucket = (int64_t)(start_of_phrase & 1023);
    for (int64_t i = rules->buckets[bucket]; i < rules->buckets[bucket + 1]; i++) {
        int64_t start = i ? rules->phrase_ends[i - 1] : 0;
        int64_t length = rules->phrase_ends[i] - start, k = 0;
        const uint64_t *wanted = rules->phrases + start;
        if (length > left) continue;
        while (k < length && words[k] && (!wanted[k] || wanted[k] == words[k])) k++;
        if (k == length) return length; /* a bucket has its longest first */
    }
    return 0;
}

/* Length of the longest phrase that begins at words[0], or 0: its second word given, or any. */
static int64_t phrase(const Rules *rules, const uint64_t *words, int64_t left) {
    if (left < 2 || !words[0] || !words[1]) return 0;
    int64_t given = in_bucket(rules, words[0] + 31 * words[1], words, left);
    int64_t any = in_bucket(rules, words[0], words, left);
    return given > any ? given : any;
}

/* Breaks in the place of the words of phrases, from left to right. */
static void mask(const Rules *rules, uint64_t *words, int64_t count) {
    int64_t i = 0;
    while (i < count) {
        int64_t length = rules->begins[words[i] & 1023] ? phrase(rules, words + i, count - i) : 0;
        memset(words + i, 0, (size_t)length * sizeof *words);
        i += length ? length : 1;
    }
}

/* Keys of all n-grams without a break in them, and of the whole. Returns how many n-grams. */
static int64_t grams(const uint64_t *words, int64_t count, int64_t n, uint64_t power,
                     uint64_t *keys, uint64_t *whole) {
    uint64_t rolling = 0, all = 0;
    int64_t run = 0, found = 0;
    for (int64_t i = 0; i < count; i++) {
        uint64_t word = words[i];
        if (!word) {
            run = 0;
            rolling = 0;
            continue;
        }
        all = all * BASE + word;
        if (run == n) rolling -= words[i - n] * power;
        else run++;
        rolling = rolling * BASE + word;
        if (run == n && n) keys[found++] = finish(rolling);
    }
    *whole = all ? finish(all) : 0;
    return found;
}

/* Keys of `count` texts that lie one after another and end at `ends`.
 *
 * `buffer`, `masks` and `words` are scratch for one text: `room` bytes and 8 more, a word for 16
 * bytes and 4 more, `room` words. Returns the texts
 * done: fewer than `count` where one has a character that fold lacks (`*unknown`, else -1), is
 * longer than the scratch has room for, or might have more keys than are left of `key_room`.
 */
int64_t cascade_keys(const Rules *rules, const uint8_t *texts, const int64_t *ends, int64_t count,
                     int64_t n, uint8_t *buffer, uint64_t *masks, uint64_t *words, int64_t room,
                     uint64_t *keys, int64_t key_room, int64_t *key_ends, uint64_t *wholes, int64_t *unknown) {
    uint64_t power = 1;
    int64_t start = 0, filled = 0;
    for (int64_t i = 1; i < n; i++) power *= BASE;
    *unknown = -1;
    for (int64_t i = 0; i < count; i++) {
        int64_t size = plain(rules, texts + start, texts + ends[i], buffer, room, unknown);
        if (size < 0) return i;
        int64_t found = lex(rules, buffer, size, masks, masks + (room >> 6) + 2, words);
        if (found > key_room - filled) return i;
        mask(rules, words, found);
        filled += grams(words, found, n, power, keys + filled, wholes + i);
        key_ends[i] = filled;
        start = ends[i];
    }
    return count;
}

/* Whether p begins, in any case, with the word, and the word ends there. */
static int begins(const uint8_t *p, const uint8_t *end, const char *word) {
    for (; *word; word++, p++)
        if (p == end || (*p | 0x20) != (uint8_t)*word) return 0;
    return p == end || !is_lower(*p | 0x20);
}

static const uint8_t *first_word(const uint8_t *p, const uint8_t *end) {
    while (p < end && !is_lower(*p | 0x20) && !is_digit(*p)) p++;
    return p;
}

static int any_begins(const uint8_t *p, const uint8_t *end, const char *const *words) {
    for (; *words; words++)
        if ((*p | 0x20) == (uint8_t)**words && begins(p, end, *words)) return 1;
    return 0;
}

/* Whether `boilerplate.stripped` may change the text; 0 is certain that it does not. */
static int needs_stripping(const uint8_t *text, const uint8_t *end) {
    static const char *const openings[] = {"question", "problem", "task", "q", "input", "user", 0};
    static const char *const heads[] = {
        "input", "output", "sample", "example", "examples", "note", "notes", "constraints",
        "format", "question", "problem", "answer", "solution", "explanation", "public", "starter",
        "interaction", "scoring", "test", "tests", 0};
    static const char *const code[] = {"import", "def", "class", 0};
    const uint8_t *p = first_word(text, end);
    size_t size = (size_t)(end - text);
    if (p < end && any_begins(p, end, openings)) return 1;
    if (memchr(text, '`', size)) return 1;
    for (p = text; (p = memchr(p, '/', (size_t)(end - p))); p++)
        if (end - p > 1 && (p[1] == 't' || p[1] == 'n')) return 1;
    for (p = text; (p = memchr(p, '[', (size_t)(end - p))); p++)
        if (end - p > 4 && !memcmp(p, "[asy]", 5)) return 1;
    if (!memchr(text, '\n', size)) return 0;
    if (memchr(text, '&', size) && memchr(text, '{', size)) return 1;
    for (p = text; p && p < end;) {
        const uint8_t *line = memchr(p, '\n', (size_t)(end - p));
        const uint8_t *last = line ? line : end, *word = first_word(p, last);
        if (word < last) {
            if (last - p <= 4 * LONGEST_HEADING && any_begins(word, last, heads)) return 1;
            if (any_begins(word, last, code)) return 1;
            if (begins(word, last, "from") && memmem(word, (size_t)(last - word), "import", 6))
                return 1;
        }
        p = line ? line + 1 : 0;
    }
    return 0;
}

/* A 1 for every text that `boilerplate.stripped` may change; returns how many. */
int64_t cascade_suspects(const uint8_t *texts, const int64_t *ends, int64_t count, uint8_t *flags) {
    int64_t start = 0, found = 0;
    for (int64_t i = 0; i < count; i++) {
        flags[i] = (uint8_t)needs_stripping(texts + start, texts + ends[i]);
        found += flags[i];
        start = ends[i];
    }
    return found;
}

/* Places in `keys` of those that are in `sorted`; returns how many.
 *
 * `first[k]` is the place in `sorted` of the first key whose upper bits are k or more. `bits` has
 * a 1 for every value that the upper bits of some key have; it is small enough to stay near.
 */
int64_t cascade_find(const uint64_t *keys, int64_t count, const uint64_t *sorted,
                     const uint32_t *first, int64_t shift, const uint8_t *bits, int64_t bit_shift,
                     int64_t *found) {
    int64_t hits = 0;
    for (int64_t i = 0; i < count; i++) {
        uint64_t key = keys[i], bit = key >> bit_shift, top;
        if (i + 16 < count) __builtin_prefetch(bits + (keys[i + 16] >> bit_shift >> 3));
        if (!(bits[bit >> 3] >> (bit & 7) & 1)) continue;
        top = key >> shift;
        for (uint32_t at = first[top]; at < first[top + 1] && sorted[at] <= key; at++) {
            if (sorted[at] == key) {
                found[hits++] = i;
                break;
            }
        }
    }
    return hits;
}
