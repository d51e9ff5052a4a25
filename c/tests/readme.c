/* What README.md's program calls: a pack and windows, and where a verdict goes. */
#include <stdint.h>
#include <stdio.h>

__asm__(".section .rodata\n.balign 8\n.global pack, pack_end\npack: .incbin \"watch.pack\"\npack_end:\n.text\n");

void next_window(int16_t window[768]);
void show(const char *name);

/* Two movements in turn: one along each axis of the accelerometer. */
void next_window(int16_t window[768])
{
    static int turn;
    for (int i = 0; i < 128; i++)
        for (int channel = 0; channel < 6; channel++)
            window[6 * i + channel] = (int16_t)(channel == turn ? 40 * (i % 32) : 300);
    turn = !turn;
}

void show(const char *name)
{
    puts(name);
}
