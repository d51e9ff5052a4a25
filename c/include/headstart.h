/* headstart from C: a frozen encoder that learns new classes on the device, from a few labels.
 *
 *     static uint64_t arena[HS_WORDS(4096)];      `headstart inspect` says how much it takes
 *     static uint64_t memory[HS_WORDS(HS_MEMORY_PROTOTYPE(64, 3))];
 *     const hs_config config = {.pack = pack, .pack_len = pack_len,
 *                               .memory = memory, .memory_len = sizeof memory,
 *                               .arena = arena, .arena_len = sizeof arena,
 *                               .max_classes = 3, .tier = HS_TIER_PROTOTYPE};
 *     hs_learner *learner;
 *     hs_init(&config, &learner);
 *     hs_learn(learner, "row", window, 768);
 *     hs_predict(learner, window, 768, &prediction);
 *
 * MEMORY. Nothing is allocated. The caller gives two buffers and the encoder's file ("pack"). They
 * must outlive the learner and stay where they are, and nobody else may write to them; the pack may
 * lie in flash. There is nothing to free: a learner that is no longer called is gone, and its
 * buffers may serve for another hs_init.
 *
 * ERRORS. Each call returns a status; where it is not HS_OK, what was learnt is as before and
 * results are unchanged unless a function says otherwise. Null pointers, misaligned ones, lengths
 * that do not fit, damaged packs and snapshots are statuses. What no library can see is the
 * caller's duty: that a pointer leads to as many bytes as it says, and that results do not lie
 * in the learner's memory. A fault in the library itself ends in abort(), which a program without a
 * C library has to define, beside memcpy, memmove, memset and memcmp; it never unwinds into C.
 *
 * THREADS. One call at a time on a learner, interrupts included. Different learners do not know of
 * each other.
 *
 * COST. "Embedding" below is one run of the encoder, by far the largest part of each call that
 * takes a window. D is the length of an embedding, C the number of classes.
 */
#ifndef HEADSTART_H
#define HEADSTART_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Counts the changes after which a program has to be compiled again; hs_abi() gives the library's. */
#define HS_ABI 1

/* The longest class name in bytes of UTF-8, and the room that one takes: zeros fill it up. */
#define HS_LABEL_MAX 16
#define HS_LABEL_SIZE 20

/* Characters of a digest's text, the closing zero included. */
#define HS_DIGEST_SIZE 65

/* What a call came to. An int32_t, as an enum's size depends on the compiler's options. */
typedef int32_t hs_status;
enum {
    HS_OK = 0,
    /* The call itself. */
    HS_NULL_POINTER = 1,
    HS_MISALIGNED = 2,        /* memory, arena and pack start at multiples of 8 */
    HS_BAD_ARGUMENT = 3,      /* a number out of range, or buffers that overlap */
    HS_NOT_STARTED = 4,       /* not a learner of hs_init, or not a digest of hs_digest_begin */
    HS_MEMORY_TOO_SMALL = 5,  /* see hs_sizes.memory */
    HS_ARENA_TOO_SMALL = 6,   /* see hs_sizes.arena */
    HS_BUFFER_TOO_SMALL = 7,  /* the result needs more */
    HS_MISSING_KERNEL = 8,    /* the library was built without a layer of this pack */
    HS_MISSING_HEAD = 9,      /* the library was built with HS_TIER_PROTOTYPE alone */
    HS_INTERNAL = 10,         /* a fault of the library */
    /* The pack. */
    HS_NOT_A_PACK = 20,
    HS_PACK_VERSION = 21,     /* pack the .onnx again with this version's tool */
    HS_PACK_LENGTH = 22,      /* cut short, or bytes behind its end */
    HS_PACK_DAMAGED = 23,     /* some bit changed after it was written */
    HS_PACK_INVALID = 24,     /* whole, but its writer was at fault */
    /* The window. */
    HS_WINDOW_LENGTH = 30,    /* see hs_sizes.window */
    HS_NO_SIGNAL = 31,        /* its embedding is zero: is the sensor on? */
    /* What was learnt. */
    HS_BAD_LABEL = 40,        /* empty, longer than HS_LABEL_MAX, or not UTF-8 */
    HS_UNKNOWN_LABEL = 41,    /* no class has this name */
    HS_NEVER_LEARNT = 42,     /* this window can't have been learnt under this name */
    HS_TOO_MANY_CLASSES = 43, /* more than max_classes: forget one first */
    HS_TOO_MANY_EXAMPLES = 44,
    HS_SHARED_MOMENTS = 45,   /* HS_TIER_GRAM forgets a class window by window */
    HS_NOTHING_LEARNT = 46,
    HS_NOTHING_TO_UNDO = 47,  /* undone already, or something else changed since */
    /* The snapshot. */
    HS_NOT_A_SNAPSHOT = 60,   /* or cut short */
    HS_SNAPSHOT_VERSION = 61,
    HS_SNAPSHOT_DAMAGED = 62,
    HS_SNAPSHOT_INVALID = 63, /* whole, but nothing that can have been learnt */
    HS_OTHER_ENCODER = 64,    /* learnt with another pack: embeddings do not compare */
    HS_OTHER_TIER = 65
};

/* The status's name, such as "HS_OK"; "not a status" for any other number. Lives forever. */
const char *hs_status_name(hs_status status);

/* HS_ABI of the library. */
uint32_t hs_abi(void);

/* What is kept of the examples, and what predicts from it. All take up to 2^24 - 1 examples a
 * class. */
enum {
    HS_TIER_PROTOTYPE = 0, /* counts and sums; the nearest class mean: least memory */
    HS_TIER_MEANS = 1,     /* counts and sums; the default head without second moments */
    HS_TIER_GRAM = 2       /* second moments too; the default head in full: best at many examples,
                              2^17 - 1 of all classes together */
};

/* Bytes and lengths; see hs_pack_sizes. */
typedef struct hs_sizes {
    uint32_t window;   /* int16 counts of a window, all channels and time steps */
    uint32_t channels; /* counts of a time step */
    uint32_t hop;      /* time steps from one window's start to the next one's, as it was trained */
    uint32_t dim;      /* D: int8 values of an embedding */
    uint32_t rank;     /* directions of the encoder's background, 0 without one */
    uint32_t arena;    /* bytes of hs_config.arena */
    uint32_t memory;   /* bytes of hs_config.memory: the next three and two embeddings */
    uint32_t learner;  /* of these the learner itself */
    uint32_t state;    /* of these what was learnt, names included */
    uint32_t head;     /* of these what the head works with */
    uint32_t snapshot; /* bytes of hs_save with max_classes classes, the most that it takes */
} hs_sizes;

/* What a learner is made of. Fields that are left out of an initialiser are zero; memory and arena
 * need not be. */
typedef struct hs_config {
    const void *pack;      /* starts at a multiple of 8 */
    size_t pack_len;       /* bytes */
    void *memory;          /* starts at a multiple of 8 */
    size_t memory_len;     /* bytes, at least hs_sizes.memory */
    void *arena;           /* starts at a multiple of 8; the busiest: the fastest RAM goes here */
    size_t arena_len;      /* bytes, at least hs_sizes.arena */
    uint32_t max_classes;  /* 1 or more */
    uint32_t tier;         /* HS_TIER_... */
    float false_accepts;   /* part of the inputs of no learnt class that may be taken for one: 0 to
                              0.5, where 0 stands for 0.05. It is kept as far as the encoder's
                              calibration goes. HS_TIER_PROTOTYPE goes by distance and ignores it. */
} hs_config;

/* Whether an input is of a learnt class at all. */
enum {
    HS_KNOWN = 0,
    HS_UNKNOWN = 1,
    HS_NOT_ENOUGH_EXAMPLES = 2 /* too few, here or behind the encoder, to promise false_accepts */
};

typedef struct hs_prediction {
    uint32_t index;            /* the most probable class, 0 to C - 1 in the order of names */
    uint32_t verdict;          /* HS_KNOWN, ... */
    float probability;         /* among the learnt classes, 0 to 1 */
    float margin;              /* ahead of the second's, 0 to 1 */
    char label[HS_LABEL_SIZE]; /* its name */
} hs_prediction;

typedef struct hs_class {
    uint32_t examples;
    char label[HS_LABEL_SIZE];
} hs_class;

/* A learner lies in hs_config.memory; its inside is the library's. */
typedef struct hs_learner hs_learner;

/* A running SHA-256; its inside is the library's. It may lie anywhere and be thrown away. */
typedef struct hs_digest {
    uint64_t words[17];
} hs_digest;

/* Sizes for static arrays, equal to those of hs_pack_sizes for an encoder of D = dim and a
 * background of `rank` directions; `headstart inspect` prints both, and the arena's bytes. */
#define HS_LEARNER_BYTES (80 * sizeof(void *) + 160)
#define HS_STATE_MEANS(dim, classes) ((classes) * (4 * ((dim) + 1) + HS_LABEL_MAX + sizeof(void *)))
#define HS_STATE_GRAM(dim, classes) (HS_STATE_MEANS(dim, classes) + 4 * HS_TRIANGLE(dim))
#define HS_HEAD(dim, classes, rank) \
    (4 * (HS_TRIANGLE(dim) + (dim) + (classes) * ((dim) + 1) + ((rank) ? HS_PROJECTED(dim, classes, rank) : 0)))
#define HS_MEMORY_PROTOTYPE(dim, classes) (HS_LEARNER_BYTES + HS_STATE_MEANS(dim, classes) + 2 * (dim))
#define HS_MEMORY_MEANS(dim, classes, rank) (HS_MEMORY_PROTOTYPE(dim, classes) + HS_HEAD(dim, classes, rank))
#define HS_MEMORY_GRAM(dim, classes, rank) (HS_MEMORY_MEANS(dim, classes, rank) + 4 * HS_TRIANGLE(dim))
#define HS_SNAPSHOT_MEANS(dim, classes) (56 + (classes) * (HS_LABEL_MAX + 4 * ((dim) + 1)))
#define HS_SNAPSHOT_GRAM(dim, classes) (HS_SNAPSHOT_MEANS(dim, classes) + 4 * HS_TRIANGLE(dim))

/* As a count of uint64_t, whose arrays are aligned as buffers must be. */
#define HS_WORDS(bytes) (((bytes) + 7) / 8)

/* Parts of the above. */
#define HS_TRIANGLE(side) ((side) * ((side) + 1) / 2)
#define HS_PROJECTED(dim, classes, rank) \
    ((dim) + (rank) * (rank) + HS_TRIANGLE(rank) + 5 * (rank) + (classes) * ((rank) + 2))

/* Checks a pack from end to end: length, checksum, every offset and shape. Costs one pass over it.
 * Errors: HS_NULL_POINTER, HS_MISALIGNED, those of the pack. */
hs_status hs_pack_check(const void *pack, size_t pack_len);

/* Says how much memory a learner of max_classes classes takes. Checks the pack first, at that cost.
 * Errors: as hs_pack_check; HS_BAD_ARGUMENT where there is no such tier, or max_classes is 0 or so
 * large that 2 GiB would not do. */
hs_status hs_pack_sizes(const void *pack, size_t pack_len, uint32_t max_classes, uint32_t tier, hs_sizes *sizes);

/* Makes a learner that knows nothing in config->memory, and gives its address: that of the memory.
 * What was there is gone. `config` itself is not needed afterwards; the buffers are. Checks the pack
 * and takes its SHA-256, which binds what is learnt to it: two passes, once, at boot.
 * Errors: as hs_pack_sizes; HS_BAD_ARGUMENT for false_accepts or buffers that overlap;
 * HS_MEMORY_TOO_SMALL, HS_ARENA_TOO_SMALL, HS_MISSING_KERNEL, HS_MISSING_HEAD. *learner is null
 * then. */
hs_status hs_init(const hs_config *config, hs_learner **learner);

/* Learns one labelled window; a new name makes a new class. The result does not depend on the order
 * of learning. `label` ends with a zero; `window` has `counts` raw int16 counts, time step by time
 * step ([time][channel]), as the sensor's registers give them.
 * Costs an embedding and D additions; in HS_TIER_GRAM D * D / 2 multiplications more.
 * Errors: HS_BAD_LABEL, HS_WINDOW_LENGTH, HS_NO_SIGNAL, HS_TOO_MANY_CLASSES, HS_TOO_MANY_EXAMPLES. */
hs_status hs_learn(hs_learner *learner, const char *label, const int16_t *window, size_t counts);

/* Forgets one window that was learnt under this name: as if it had never been, to the bit. A class
 * goes with its last example. Costs as hs_learn.
 * Errors: HS_BAD_LABEL, HS_UNKNOWN_LABEL, HS_WINDOW_LENGTH, HS_NO_SIGNAL; HS_NEVER_LEARNT where the
 * sums say that it can't have been learnt, which they can't always. */
hs_status hs_forget(hs_learner *learner, const char *label, const int16_t *window, size_t counts);

/* Forgets a class and all its examples. Costs a move of the classes behind it.
 * Errors: HS_BAD_LABEL, HS_UNKNOWN_LABEL; HS_SHARED_MOMENTS in HS_TIER_GRAM. */
hs_status hs_forget_class(hs_learner *learner, const char *label);

/* Forgets the window that was learnt last, once; what was predicted since does not matter.
 * Costs D additions, in HS_TIER_GRAM D * D / 2 multiplications more.
 * Errors: HS_NOTHING_TO_UNDO. */
hs_status hs_undo(hs_learner *learner);

/* Brings the head up to date now instead of in the next hs_predict. Nothing to do where nothing was
 * learnt since; else C additions for HS_TIER_PROTOTYPE, about D^3 / 6 + C * D^2 multiplications for
 * the others.
 * Errors: HS_NOTHING_LEARNT. */
hs_status hs_fit(hs_learner *learner);

/* Names the class of a window. Costs hs_fit, an embedding, and about 2 * C * D multiplications.
 * Errors: HS_NOTHING_LEARNT, HS_WINDOW_LENGTH, HS_NO_SIGNAL. */
hs_status hs_predict(hs_learner *learner, const int16_t *window, size_t counts, hs_prediction *prediction);

/* Gives a window's embedding: D values of -127 to 127 with a norm of about 127. `embedding_len` is D
 * or more; what lies behind D is left alone.
 * Errors: HS_BUFFER_TOO_SMALL, HS_WINDOW_LENGTH, HS_NO_SIGNAL. */
hs_status hs_embed(hs_learner *learner, const int16_t *window, size_t counts, int8_t *embedding, size_t embedding_len);

/* Counts the classes that have an example. */
hs_status hs_class_count(const hs_learner *learner, uint32_t *count);

/* Gives class number `index`, in the order of names (bytewise).
 * Errors: HS_BAD_ARGUMENT where there are not so many. */
hs_status hs_class_at(const hs_learner *learner, uint32_t index, hs_class *found);

/* Writes all that was learnt, in the bytes that FORMAT.md has, to outlive a reset; *written is how
 * many. Keep two in turn, and a power cut in between is harmless: the checksum says which is whole.
 * Errors: HS_BUFFER_TOO_SMALL, where *written is how many it takes. */
hs_status hs_save(const hs_learner *learner, void *out, size_t out_len, size_t *written);

/* Replaces what was learnt by a snapshot of the same tier and pack, checked as strictly as a pack.
 * It need not be aligned; bytes behind its end do not matter. There is nothing to undo afterwards.
 * Errors: those of the snapshot; HS_TOO_MANY_CLASSES where it has more than max_classes. */
hs_status hs_restore(hs_learner *learner, const void *snapshot, size_t snapshot_len);

/* Begins a SHA-256 over what was learnt, as FORMAT.md has it: two machines that did the same agree
 * on it to the bit. Costs a pass over the sums. */
hs_status hs_digest_begin(const hs_learner *learner, hs_digest *digest);

/* Adds a prediction.
 * Errors: HS_BAD_ARGUMENT for a verdict that does not exist. */
hs_status hs_digest_add(hs_digest *digest, const hs_prediction *prediction);

/* Ends it: 64 hexadecimal digits and a zero. `text_len` is HS_DIGEST_SIZE or more.
 * Errors: HS_BUFFER_TOO_SMALL; the digest goes on then. */
hs_status hs_digest_end(hs_digest *digest, char *text, size_t text_len);

#ifdef __cplusplus
}
#endif

#endif
