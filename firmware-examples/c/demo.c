/* The watch demo in C: learns three exercises that the encoder has never seen, from five examples
 * each and one at a time, forgets one, learns it again, loses power, then names the exercises of the
 * rest of the recordings. app/ does the same in Rust, and both print the same digest. */
#include "board.h"
#include "headstart.h"
#include "windows.h"

/* `run` builds it twice: the default head in full, and the least memory. */
#ifdef GRAM
#define TIER HS_TIER_GRAM
#define MEMORY_BYTES HS_MEMORY_GRAM(DIM, CLASSES, RANK)
#define SNAPSHOT_BYTES HS_SNAPSHOT_GRAM(DIM, CLASSES)
#else
#define TIER HS_TIER_PROTOTYPE
#define MEMORY_BYTES HS_MEMORY_PROTOTYPE(DIM, CLASSES)
#define SNAPSHOT_BYTES HS_SNAPSHOT_MEANS(DIM, CLASSES)
#endif

enum { SUPPORT = sizeof support / sizeof *support, QUERIES = sizeof queries / sizeof *queries };

/* data.S has them. The windows stand for a sensor: the support's first, then the queries'. */
extern const unsigned char watch_pack[], watch_pack_end[];
extern const int16_t watch_windows[][COUNTS];

static uint64_t arena[HS_WORDS(ARENA_BYTES)];
static uint64_t memory[HS_WORDS(MEMORY_BYTES)];
/* Stands for a page of flash. */
static unsigned char page[SNAPSHOT_BYTES];

/* Nothing of a C library is needed. */
static int same(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

static void lose(uint64_t *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        words[i] = UINT64_MAX;
}

static void print_number(uint32_t number)
{
    char text[11], *at = text + sizeof text - 1;
    *at = 0;
    do
        *--at = (char)('0' + number % 10);
    while (number /= 10);
    board_print(at);
}

/* A line of the report: key, number, what follows. */
static void line(const char *key, uint32_t number, const char *behind)
{
    board_print(key);
    print_number(number);
    board_print(behind);
}

static void text_line(const char *key, const char *text)
{
    board_print(key);
    board_print(text);
    board_print("\n");
}

/* Ends the function where a call fails. */
#define TRY(call)                     \
    do {                              \
        hs_status status = (call);    \
        if (status != HS_OK)          \
            return status;            \
    } while (0)

static hs_status begin(hs_learner **learner)
{
    const hs_config config = {
        .pack = watch_pack,
        .pack_len = (size_t)(watch_pack_end - watch_pack),
        .memory = memory,
        .memory_len = sizeof memory,
        .arena = arena,
        .arena_len = sizeof arena,
        .max_classes = CLASSES,
        .tier = TIER,
    };
    return hs_init(&config, learner);
}

static hs_status digest_of(const hs_learner *learner, char text[HS_DIGEST_SIZE])
{
    hs_digest digest;
    TRY(hs_digest_begin(learner, &digest));
    return hs_digest_end(&digest, text, HS_DIGEST_SIZE);
}

/* Learns the support, but only what has this name; all of it where there is none. */
static hs_status learn(hs_learner *learner, const char *only)
{
    for (int i = 0; i < SUPPORT; i++)
        if (!only || same(only, support[i]))
            TRY(hs_learn(learner, support[i], watch_windows[i], COUNTS));
    return HS_OK;
}

static hs_status teach(char digest[HS_DIGEST_SIZE])
{
    hs_learner *learner;
    char again[HS_DIGEST_SIZE];
    size_t written;

    TRY(begin(&learner));
    TRY(learn(learner, NULL));
    TRY(digest_of(learner, digest));
    line("subject      ", SUBJECT, "\n");
    line("taught       ", SUPPORT, " windows, one at a time\n");

    for (int i = 0; i < SUPPORT; i++)
        if (same(support[i], support[0]))
            TRY(hs_forget(learner, support[i], watch_windows[i], COUNTS));
    TRY(learn(learner, support[0]));
    TRY(digest_of(learner, again));
    board_print("relearnt     ");
    board_print(support[0]);
    text_line(same(digest, again) ? ": same" : ": OTHER", " statistics as before");
    return hs_save(learner, page, sizeof page, &written);
}

static hs_status ask(const char statistics[HS_DIGEST_SIZE])
{
    hs_learner *learner;
    hs_digest digest;
    hs_prediction prediction;
    char text[HS_DIGEST_SIZE];
    uint32_t right = 0, unknown = 0;

    TRY(begin(&learner));
    TRY(hs_restore(learner, page, sizeof page));
    TRY(digest_of(learner, text));
    text_line("restored     after a reset: ",
              same(statistics, text) ? "same statistics as before" : "OTHER statistics as before");

    TRY(hs_digest_begin(learner, &digest));
    for (int i = 0; i < QUERIES; i++) {
        TRY(hs_predict(learner, watch_windows[SUPPORT + i], COUNTS, &prediction));
        TRY(hs_digest_add(&digest, &prediction));
        right += same(prediction.label, queries[i]);
        unknown += prediction.verdict != HS_KNOWN;
    }
    TRY(hs_digest_end(&digest, text, sizeof text));
    line("right        ", right, " of ");
    line("", QUERIES, " queries\n");
    line("unknown      ", unknown, " of ");
    line("", QUERIES, " queries\n");
    text_line("statistics   ", statistics);
    text_line("digest       ", text);
    return HS_OK;
}

static hs_status run(void)
{
    char statistics[HS_DIGEST_SIZE];
    hs_sizes sizes;
    size_t pack_len = (size_t)(watch_pack_end - watch_pack);

    TRY(teach(statistics));
    lose(memory, sizeof memory / sizeof *memory);
    lose(arena, sizeof arena / sizeof *arena);
    TRY(ask(statistics));
    TRY(hs_pack_sizes(watch_pack, pack_len, CLASSES, TIER, &sizes));
    line("pack         ", (uint32_t)pack_len, " bytes\n");
    line("arena        ", sizes.arena, " bytes\n");
    line("memory       ", sizes.memory, " bytes\n");
    line("state        ", sizes.state, " bytes\n");
    return HS_OK;
}

int main(void)
{
    text_line("tier         ", TIER == HS_TIER_GRAM ? "gram" : "prototype");
    text_line("board        ", board_name);
    hs_status status = run();
    if (status != HS_OK) {
        text_line("error: ", hs_status_name(status));
        return 1;
    }
    board_usage usage = board_measure();
    if (usage.flash) {
        line("flash        ", usage.flash, " bytes\n");
        line("ram          ", usage.statics + usage.stack, " bytes\n");
        line("stack        ", usage.stack, " bytes\n");
    }
    return 0;
}
