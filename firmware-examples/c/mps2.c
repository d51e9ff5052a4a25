/* QEMU's mps2-an386, a Cortex-M4F: vectors, start-up, printing and ending through semihosting, and
 * what memory the program took. */
#include <stdint.h>

#include "board.h"

int main(void);
void reset(void);

/* mps2.ld has them. */
extern uint32_t data_start[], data_end[], data_image[], bss_start[], bss_end[], stack_top[];

/* Coprocessors 10 and 11 are the FPU. */
#define CPACR (*(volatile uint32_t *)0xE000ED88)

enum { SYS_OPEN = 0x01, SYS_WRITE = 0x05, SYS_EXIT = 0x18 };
enum { MODE_W = 4, APPLICATION_EXIT = 0x20026, RUN_TIME_ERROR = 0x20023 };

static const uint32_t PAINT = 0xC5C5C5C5;

static uint32_t semihosting(uint32_t operation, uint32_t argument)
{
    register uint32_t r0 __asm__("r0") = operation;
    register uint32_t r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static _Noreturn void end(int failed)
{
    for (;;)
        semihosting(SYS_EXIT, failed ? RUN_TIME_ERROR : APPLICATION_EXIT);
}

/* A fault in the library ends here, and so does one that the processor sees. */
_Noreturn void abort(void);
_Noreturn void abort(void)
{
    board_print("error: abort\n");
    end(1);
}

void reset(void)
{
    CPACR |= 0xFu << 20;
    __asm__ volatile("dsb\n\tisb" ::: "memory");
    for (uint32_t *to = data_start, *from = data_image; to < data_end;)
        *to++ = *from++;
    for (uint32_t *to = bss_start; to < bss_end;)
        *to++ = 0;
    /* Up to this function's own frame. */
    for (volatile uint32_t *to = bss_end; to < (uint32_t *)__builtin_frame_address(0) - 16;)
        *to++ = PAINT;
    end(main());
}

/* Where the stack begins, where the program does, and the faults; no interrupt is ever enabled. */
__attribute__((section(".vectors"), used)) static const struct {
    uint32_t *stack;
    void (*handlers[15])(void);
} vectors = {stack_top, {reset, abort, abort, abort, abort, abort}};

const char *const board_name = "mps2-an386, Cortex-M4F, QEMU";

void board_print(const char *text)
{
    static uint32_t out;
    uint32_t length = 0;
    while (text[length])
        length++;
    if (!out) {
        const uint32_t terminal[] = {(uint32_t)":tt", MODE_W, 3};
        out = semihosting(SYS_OPEN, (uint32_t)terminal);
    }
    const uint32_t write[] = {out, (uint32_t)text, length};
    semihosting(SYS_WRITE, (uint32_t)write);
}

board_usage board_measure(void)
{
    const volatile uint32_t *deepest = bss_end;
    while (deepest < stack_top && *deepest == PAINT)
        deepest++;
    return (board_usage){
        .flash = (uint32_t)data_image + (uint32_t)data_end - (uint32_t)data_start,
        .statics = (uint32_t)bss_end - (uint32_t)data_start,
        .stack = (uint32_t)stack_top - (uint32_t)deepest,
    };
}
