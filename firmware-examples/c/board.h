/* What a board gives the demo. */
#ifndef BOARD_H
#define BOARD_H

#include <stdint.h>

extern const char *const board_name;

/* Prints text that ends with a zero. */
void board_print(const char *text);

/* Bytes of flash, of .data and .bss, and the deepest that the stack ever was; zeros where there is
 * no telling. */
typedef struct board_usage {
    uint32_t flash, statics, stack;
} board_usage;
board_usage board_measure(void);

#endif
