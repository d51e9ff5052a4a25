/* Every status that C can bring about, from outside: errors PACK. Each check names its line; at the
 * end each status must have been seen. Whatever the library wrote beyond a buffer is noticed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "headstart.h"

/* The watch encoder, where things lie in a pack (FORMAT.md), and the length of a guard. */
enum { CLASSES = 3, COUNTS = 768, D = 64, RANK = 16 };
enum { PACK_CRC_AT = 16, PACK_CRC_FROM = 20, PACK_FRONTEND_AT = 44 };
enum { GUARD = 64 };

static int checks, failures;
static unsigned char seen[128];

static void expect(hs_status wanted, hs_status got, const char *call, int line)
{
    checks++;
    if (got >= 0 && got < (hs_status)sizeof seen)
        seen[got] = 1;
    if (got != wanted) {
        failures++;
        printf("errors.c:%d: %s\n    gives %s, not %s\n", line, call, hs_status_name(got), hs_status_name(wanted));
    }
}

static void hold(int truth, const char *what, int line)
{
    checks++;
    if (!truth) {
        failures++;
        printf("errors.c:%d: %s does not hold\n", line, what);
    }
}

#define EXPECT(status, call) expect(status, call, #call, __LINE__)
#define HOLD(truth) hold(truth, #truth, __LINE__)

/* Bytes at a multiple of 8, with guards on both sides. */
typedef struct guarded {
    unsigned char *bytes;
    size_t len;
} guarded;

static guarded guarded_new(size_t len)
{
    unsigned char *all = malloc(len + 2 * GUARD);
    if (!all)
        exit(2);
    memset(all, 0xA5, len + 2 * GUARD);
    return (guarded){all + GUARD, len};
}

static void guarded_end(guarded g)
{
    for (size_t i = 0; i < GUARD; i++)
        HOLD(g.bytes[-1 - (ptrdiff_t)i] == 0xA5 && g.bytes[g.len + i] == 0xA5);
    free(g.bytes - GUARD);
}

static void put32(unsigned char *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (unsigned char)(value >> 8 * i);
}

/* CRC-32 as zlib has it. */
static uint32_t crc32(const unsigned char *bytes, size_t len)
{
    uint32_t crc = 0xFFFFFFFF;
    while (len--) {
        crc ^= *bytes++;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320 : 0);
    }
    return ~crc;
}

/* A window of counts, another one for each seed. */
static void draw(int16_t window[COUNTS], uint32_t seed)
{
    seed = seed * 7919 + 1;
    for (int i = 0; i < COUNTS; i++) {
        seed = seed * 1664525 + 1013904223;
        window[i] = (int16_t)((int)(seed >> 20) - 2048 + (i % 6) * 500);
    }
}

static void packs(guarded pack)
{
    hs_sizes sizes;
    guarded copy = guarded_new(pack.len + 8);
    unsigned char *b = copy.bytes;

    EXPECT(HS_OK, hs_pack_check(pack.bytes, pack.len));
    EXPECT(HS_NULL_POINTER, hs_pack_check(NULL, pack.len));
    EXPECT(HS_BAD_ARGUMENT, hs_pack_check(pack.bytes, SIZE_MAX));
    EXPECT(HS_PACK_LENGTH, hs_pack_check(pack.bytes, 0));
    EXPECT(HS_PACK_LENGTH, hs_pack_check(pack.bytes, pack.len - 8));

    memcpy(b + 1, pack.bytes, pack.len);
    EXPECT(HS_MISALIGNED, hs_pack_check(b + 1, pack.len));
    memcpy(b, pack.bytes, pack.len);
    memset(b + pack.len, 0, 8);
    EXPECT(HS_PACK_LENGTH, hs_pack_check(b, pack.len + 8));
    b[0] ^= 1;
    EXPECT(HS_NOT_A_PACK, hs_pack_check(b, pack.len));
    b[0] ^= 1;
    b[8] ^= 0x80;
    EXPECT(HS_PACK_VERSION, hs_pack_check(b, pack.len));
    b[8] ^= 0x80;
    b[pack.len / 2] ^= 1;
    EXPECT(HS_PACK_DAMAGED, hs_pack_check(b, pack.len));
    b[pack.len / 2] ^= 1;
    /* No such kind of front end, under a right checksum. */
    uint32_t frontend;
    memcpy(&frontend, b + PACK_FRONTEND_AT, 4);
    b[frontend] = 99;
    put32(b + PACK_CRC_AT, crc32(b + PACK_CRC_FROM, pack.len - PACK_CRC_FROM));
    EXPECT(HS_PACK_INVALID, hs_pack_check(b, pack.len));
    guarded_end(copy);

    EXPECT(HS_OK, hs_pack_sizes(pack.bytes, pack.len, CLASSES, HS_TIER_GRAM, &sizes));
    HOLD(sizes.window == COUNTS && sizes.channels == 6 && sizes.dim == D && sizes.rank == RANK);
    HOLD(sizes.arena >= 2 * COUNTS && sizes.learner == HS_LEARNER_BYTES);
    HOLD(sizes.memory == 8 * HS_WORDS(HS_MEMORY_GRAM(D, CLASSES, RANK)));
    HOLD(sizes.snapshot == HS_SNAPSHOT_GRAM(D, CLASSES));
    EXPECT(HS_OK, hs_pack_sizes(pack.bytes, pack.len, CLASSES, HS_TIER_MEANS, &sizes));
    HOLD(sizes.memory == 8 * HS_WORDS(HS_MEMORY_MEANS(D, CLASSES, RANK)));
    HOLD(sizes.state == HS_STATE_MEANS(D, CLASSES) && sizes.head == HS_HEAD(D, CLASSES, RANK));
    EXPECT(HS_OK, hs_pack_sizes(pack.bytes, pack.len, CLASSES, HS_TIER_PROTOTYPE, &sizes));
    HOLD(sizes.memory == 8 * HS_WORDS(HS_MEMORY_PROTOTYPE(D, CLASSES)) && sizes.head == 0);
    HOLD(sizes.snapshot == HS_SNAPSHOT_MEANS(D, CLASSES));
    EXPECT(HS_NULL_POINTER, hs_pack_sizes(NULL, 0, CLASSES, HS_TIER_GRAM, &sizes));
    EXPECT(HS_NULL_POINTER, hs_pack_sizes(pack.bytes, pack.len, CLASSES, HS_TIER_GRAM, NULL));
    EXPECT(HS_BAD_ARGUMENT, hs_pack_sizes(pack.bytes, pack.len, 0, HS_TIER_GRAM, &sizes));
    EXPECT(HS_BAD_ARGUMENT, hs_pack_sizes(pack.bytes, pack.len, UINT32_MAX, HS_TIER_GRAM, &sizes));
    EXPECT(HS_BAD_ARGUMENT, hs_pack_sizes(pack.bytes, pack.len, CLASSES, 3, &sizes));
    EXPECT(HS_PACK_LENGTH, hs_pack_sizes(pack.bytes, 7, CLASSES, HS_TIER_GRAM, &sizes));
}

static void beginnings(hs_config good)
{
    hs_learner *learner = NULL;
    hs_config c;
    unsigned char *memory = good.memory;

    EXPECT(HS_NULL_POINTER, hs_init(NULL, &learner));
    EXPECT(HS_NULL_POINTER, hs_init(&good, NULL));
#define WITH(field, value) (c = good, c.field = (value), hs_init(&c, &learner))
    EXPECT(HS_NULL_POINTER, WITH(pack, NULL));
    EXPECT(HS_NULL_POINTER, WITH(memory, NULL));
    EXPECT(HS_NULL_POINTER, WITH(arena, NULL));
    EXPECT(HS_PACK_LENGTH, WITH(pack_len, good.pack_len - 1));
    EXPECT(HS_MEMORY_TOO_SMALL, WITH(memory_len, good.memory_len - 1));
    EXPECT(HS_ARENA_TOO_SMALL, WITH(arena_len, good.arena_len - 1));
    EXPECT(HS_MISALIGNED, WITH(memory, memory + 4));
    EXPECT(HS_MISALIGNED, WITH(arena, (unsigned char *)good.arena + 4));
    EXPECT(HS_BAD_ARGUMENT, WITH(arena, memory));
    EXPECT(HS_BAD_ARGUMENT, WITH(memory, (void *)good.pack));
    EXPECT(HS_BAD_ARGUMENT, WITH(arena, (void *)good.pack));
    EXPECT(HS_BAD_ARGUMENT, WITH(max_classes, 0));
    EXPECT(HS_BAD_ARGUMENT, WITH(tier, 7));
    EXPECT(HS_BAD_ARGUMENT, WITH(false_accepts, -0.1f));
    EXPECT(HS_BAD_ARGUMENT, WITH(false_accepts, 0.6f));
    EXPECT(HS_BAD_ARGUMENT, WITH(false_accepts, 0.0f / (good.false_accepts - good.false_accepts)));
    HOLD(learner == NULL);
}

/* Null, and a learner that was never begun, for every function that takes one. */
static void strangers(void)
{
    static uint64_t nothing[HS_WORDS(HS_LEARNER_BYTES)];
    hs_learner *learners[] = {NULL, (hs_learner *)nothing, (hs_learner *)((char *)nothing + 1)};
    const hs_status codes[] = {HS_NULL_POINTER, HS_NOT_STARTED, HS_MISALIGNED};
    int16_t w[COUNTS] = {1};
    int8_t e[D];
    hs_prediction p = {0};
    hs_class k;
    hs_digest d = {{0}};
    uint32_t n;
    size_t written;
    char text[HS_DIGEST_SIZE];

    for (int i = 0; i < 3; i++) {
        hs_learner *l = learners[i];
        hs_status code = codes[i];
        EXPECT(code, hs_learn(l, "a", w, COUNTS));
        EXPECT(code, hs_forget(l, "a", w, COUNTS));
        EXPECT(code, hs_forget_class(l, "a"));
        EXPECT(code, hs_undo(l));
        EXPECT(code, hs_fit(l));
        EXPECT(code, hs_predict(l, w, COUNTS, &p));
        EXPECT(code, hs_embed(l, w, COUNTS, e, D));
        EXPECT(code, hs_class_count(l, &n));
        EXPECT(code, hs_class_at(l, 0, &k));
        EXPECT(code, hs_save(l, w, sizeof w, &written));
        EXPECT(code, hs_restore(l, w, sizeof w));
        EXPECT(code, hs_digest_begin(l, &d));
    }
    EXPECT(HS_NOT_STARTED, hs_digest_add(&d, &p));
    EXPECT(HS_NOT_STARTED, hs_digest_end(&d, text, sizeof text));
    EXPECT(HS_NULL_POINTER, hs_digest_add(NULL, &p));
    EXPECT(HS_NULL_POINTER, hs_digest_end(NULL, text, sizeof text));
}

static void lessons(hs_learner *l, uint32_t tier)
{
    int16_t a[COUNTS], b[COUNTS], odd[COUNTS + 1];
    int8_t e[D + 1];
    hs_prediction p;
    hs_class k;
    uint32_t n = 99;

    draw(a, 1);
    draw(b, 2);
    EXPECT(HS_NOTHING_LEARNT, hs_predict(l, a, COUNTS, &p));
    EXPECT(HS_NOTHING_LEARNT, hs_fit(l));
    EXPECT(HS_NOTHING_TO_UNDO, hs_undo(l));
    EXPECT(HS_OK, hs_class_count(l, &n));
    HOLD(n == 0);
    EXPECT(HS_BAD_ARGUMENT, hs_class_at(l, 0, &k));

    EXPECT(HS_NULL_POINTER, hs_learn(l, NULL, a, COUNTS));
    EXPECT(HS_NULL_POINTER, hs_learn(l, "a", NULL, COUNTS));
    EXPECT(HS_MISALIGNED, hs_learn(l, "a", (int16_t *)(void *)((char *)odd + 1), COUNTS));
    EXPECT(HS_WINDOW_LENGTH, hs_learn(l, "a", a, COUNTS - 1));
    EXPECT(HS_WINDOW_LENGTH, hs_learn(l, "a", a, 0));
    EXPECT(HS_BAD_ARGUMENT, hs_learn(l, "a", a, SIZE_MAX));
    EXPECT(HS_BAD_LABEL, hs_learn(l, "", a, COUNTS));
    EXPECT(HS_BAD_LABEL, hs_learn(l, "seventeen letters", a, COUNTS));
    EXPECT(HS_BAD_LABEL, hs_learn(l, "\xff", a, COUNTS));
    EXPECT(HS_UNKNOWN_LABEL, hs_forget(l, "a", a, COUNTS));
    EXPECT(HS_UNKNOWN_LABEL, hs_forget_class(l, "a"));
    EXPECT(HS_BAD_LABEL, hs_forget_class(l, "seventeen letters"));

    EXPECT(HS_OK, hs_learn(l, "sixteen letters!", b, COUNTS));
    EXPECT(HS_OK, hs_learn(l, "a", a, COUNTS));
    EXPECT(HS_OK, hs_learn(l, "b", a, COUNTS));
    EXPECT(HS_TOO_MANY_CLASSES, hs_learn(l, "c", a, COUNTS));
    EXPECT(HS_OK, hs_undo(l));
    EXPECT(HS_NOTHING_TO_UNDO, hs_undo(l));
    EXPECT(HS_OK, hs_class_count(l, &n));
    HOLD(n == 2);
    EXPECT(HS_OK, hs_class_at(l, 1, &k));
    HOLD(k.examples == 1 && strcmp(k.label, "sixteen letters!") == 0);
    EXPECT(HS_BAD_ARGUMENT, hs_class_at(l, 2, &k));
    EXPECT(HS_NULL_POINTER, hs_class_at(l, 0, NULL));
    EXPECT(HS_NULL_POINTER, hs_class_count(l, NULL));

    EXPECT(HS_NEVER_LEARNT, hs_forget(l, "a", b, COUNTS));
    EXPECT(HS_NULL_POINTER, hs_predict(l, a, COUNTS, NULL));
    EXPECT(HS_WINDOW_LENGTH, hs_predict(l, a, COUNTS + 1, &p));
    EXPECT(HS_OK, hs_fit(l));
    EXPECT(HS_OK, hs_predict(l, b, COUNTS, &p));
    HOLD(p.index == 1 && strcmp(p.label, "sixteen letters!") == 0);
    HOLD(p.probability > 0.5f && p.probability <= 1.0f && p.margin > 0.0f && p.verdict <= 2);

    memset(e, 77, sizeof e);
    EXPECT(HS_BUFFER_TOO_SMALL, hs_embed(l, a, COUNTS, e, D - 1));
    EXPECT(HS_NULL_POINTER, hs_embed(l, a, COUNTS, NULL, D));
    HOLD(e[0] == 77);
    EXPECT(HS_OK, hs_embed(l, a, COUNTS, e, D + 1));
    HOLD(e[D] == 77);
    long norm = 0;
    for (int i = 0; i < D; i++)
        norm += e[i] * e[i];
    HOLD(norm > 120 * 120 && norm < 134 * 134);

    EXPECT(tier == HS_TIER_GRAM ? HS_SHARED_MOMENTS : HS_OK, hs_forget_class(l, "a"));
    EXPECT(tier == HS_TIER_GRAM ? HS_OK : HS_UNKNOWN_LABEL, hs_forget(l, "a", a, COUNTS));
    EXPECT(HS_OK, hs_class_count(l, &n));
    HOLD(n == 1);
}

static void snapshots(hs_learner *l, hs_config config, uint32_t other_tier, size_t longest)
{
    guarded g = guarded_new(longest);
    unsigned char *s = g.bytes;
    size_t written = 0, again = 0;
    int16_t w[COUNTS];
    uint32_t n = 0;

    draw(w, 2);
    EXPECT(HS_OK, hs_learn(l, "c", w, COUNTS));
    EXPECT(HS_BUFFER_TOO_SMALL, hs_save(l, s, 1, &written));
    HOLD(s[0] == 0xA5 && written > 56 && written <= longest);
    EXPECT(HS_BUFFER_TOO_SMALL, hs_save(l, s, written - 1, &again));
    HOLD(again == written);
    EXPECT(HS_NULL_POINTER, hs_save(l, NULL, longest, &written));
    EXPECT(HS_NULL_POINTER, hs_save(l, s, longest, NULL));
    EXPECT(HS_OK, hs_save(l, s, written, &again));
    HOLD(again == written && memcmp(s, "HSSTAT\r\n", 8) == 0);
    EXPECT(HS_OK, hs_restore(l, s, written));
    EXPECT(HS_NOTHING_TO_UNDO, hs_undo(l));
    EXPECT(HS_NULL_POINTER, hs_restore(l, NULL, written));
    EXPECT(HS_NOT_A_SNAPSHOT, hs_restore(l, s, written - 1));
    EXPECT(HS_NOT_A_SNAPSHOT, hs_restore(l, s, 0));

    /* A byte changed, under the old checksum and under a right one. */
#define CHANGED(at, value, fix) \
    (memcpy(&kept, s + (at), 4), put32(s + (at), (value)), (fix) ? put32(s + written - 4, crc32(s, written - 4)) : (void)0, \
     result = hs_restore(l, s, written), memcpy(s + (at), &kept, 4), put32(s + written - 4, crc32(s, written - 4)), result)
    uint32_t kept;
    hs_status result;
    EXPECT(HS_SNAPSHOT_VERSION, CHANGED(8, 0x00010009, 1));
    EXPECT(HS_SNAPSHOT_DAMAGED, CHANGED(80, 0x55, 0));
    EXPECT(HS_OTHER_ENCODER, CHANGED(20, 1, 1));
    EXPECT(HS_SNAPSHOT_INVALID, CHANGED(52 + 16, 0, 1)); /* a class without examples */
    /* As many examples as there can be, and then one more. */
    const uint32_t most = config.tier == HS_TIER_GRAM ? (1 << 17) - 2 : (1 << 24) - 1;
    EXPECT(HS_OK, CHANGED(52 + 20 + 4 * D + 16, most, 1));
    EXPECT(HS_TOO_MANY_EXAMPLES, hs_learn(l, "sixteen letters!", w, COUNTS));
    EXPECT(HS_OK, hs_restore(l, s, written));

    hs_learner *fewer = NULL;
    config.max_classes = 1;
    EXPECT(HS_OK, hs_init(&config, &fewer)); /* in the same memory: `l` is gone */
    EXPECT(HS_TOO_MANY_CLASSES, hs_restore(fewer, s, written));
    config.max_classes = CLASSES;
    config.tier = other_tier;
    EXPECT(HS_OK, hs_init(&config, &fewer));
    EXPECT(HS_OTHER_TIER, hs_restore(fewer, s, written));
    EXPECT(HS_OK, hs_class_count(fewer, &n));
    HOLD(n == 0);
    guarded_end(g);
}

static void digests(hs_learner *l, uint32_t tier)
{
    hs_digest d;
    hs_prediction p = {0};
    char text[HS_DIGEST_SIZE + 1];

    text[HS_DIGEST_SIZE] = 77;
    EXPECT(HS_NULL_POINTER, hs_digest_begin(l, NULL));
    EXPECT(HS_OK, hs_digest_begin(l, &d));
    EXPECT(HS_NULL_POINTER, hs_digest_add(&d, NULL));
    p.verdict = 3;
    EXPECT(HS_BAD_ARGUMENT, hs_digest_add(&d, &p));
    EXPECT(HS_BUFFER_TOO_SMALL, hs_digest_end(&d, text, HS_DIGEST_SIZE - 1));
    EXPECT(HS_NULL_POINTER, hs_digest_end(&d, NULL, HS_DIGEST_SIZE));
    EXPECT(HS_OK, hs_digest_end(&d, text, HS_DIGEST_SIZE));
    /* Nothing was learnt: the hash of no bytes, or of moments that are zero. */
    const char *none = tier == HS_TIER_GRAM ? "a374b91cb3986152a52a52f60e4af95ca115b939ddba56b2d6a7d5f79a8de522"
                                            : "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    HOLD(strcmp(text, none) == 0);
    HOLD(text[HS_DIGEST_SIZE] == 77);
    EXPECT(HS_NOT_STARTED, hs_digest_end(&d, text, HS_DIGEST_SIZE));
}

static void tier(guarded pack, uint32_t number, uint32_t other)
{
    hs_sizes sizes;
    EXPECT(HS_OK, hs_pack_sizes(pack.bytes, pack.len, CLASSES, number, &sizes));
    size_t most = 8 * HS_WORDS(HS_MEMORY_GRAM(D, CLASSES, RANK));
    guarded memory = guarded_new(sizes.memory), arena = guarded_new(sizes.arena), large = guarded_new(most);
    hs_config config = {
        .pack = pack.bytes, .pack_len = pack.len, .memory = memory.bytes, .memory_len = memory.len,
        .arena = arena.bytes, .arena_len = arena.len, .max_classes = CLASSES, .tier = number,
    };
    hs_learner *learner = NULL;
    beginnings(config);
    EXPECT(HS_OK, hs_init(&config, &learner));
    HOLD((void *)learner == config.memory);
    digests(learner, number);
    lessons(learner, number);
    EXPECT(HS_OK, hs_init(&config, &learner));
    lessons(learner, number); /* nothing is left of the first */

    config.memory = large.bytes;
    config.memory_len = large.len;
    config.false_accepts = 0.01f;
    EXPECT(HS_OK, hs_init(&config, &learner));
    lessons(learner, number);
    snapshots(learner, config, other, sizes.snapshot);
    guarded_end(memory);
    guarded_end(arena);
    guarded_end(large);
}

/* Those that a whole library with a whole pack does not give; api/tests/parts.rs has them. */
static int elsewhere(hs_status status)
{
    return status == HS_INTERNAL || status == HS_MISSING_KERNEL || status == HS_MISSING_HEAD || status == HS_NO_SIGNAL;
}

int main(int argc, char **argv)
{
    FILE *file = argc == 2 ? fopen(argv[1], "rb") : NULL;
    if (!file || fseek(file, 0, SEEK_END))
        return fputs("usage: errors PACK\n", stderr), 2;
    guarded pack = guarded_new((size_t)ftell(file));
    rewind(file);
    if (fread(pack.bytes, 1, pack.len, file) != pack.len)
        return 2;
    fclose(file);

    HOLD(hs_abi() == HS_ABI);
    packs(pack);
    strangers();
    tier(pack, HS_TIER_PROTOTYPE, HS_TIER_GRAM);
    tier(pack, HS_TIER_MEANS, HS_TIER_GRAM);
    tier(pack, HS_TIER_GRAM, HS_TIER_PROTOTYPE);
    guarded_end(pack);

    HOLD(strcmp(hs_status_name(-1), "not a status") == 0 && strcmp(hs_status_name(11), "not a status") == 0);
    for (hs_status status = 0; status < (hs_status)sizeof seen; status++) {
        int named = strncmp(hs_status_name(status), "HS_", 3) == 0;
        if (named && !seen[status] && !elsewhere(status)) {
            failures++;
            printf("no check gives %s\n", hs_status_name(status));
        }
    }
    printf("%d checks, %d failures\n", checks, failures);
    return failures != 0;
}
