/* The encoder's file, and the demo's windows in a section of their own, so that they do not count as
 * the firmware's flash. */

    .section .rodata.watch_pack, "a"
    .balign 8
    .global watch_pack
    .global watch_pack_end
watch_pack:
    .incbin "watch.pack"
watch_pack_end:

    .section .demo_windows, "a"
    .balign 4
    .global watch_windows
watch_windows:
    .incbin "windows.bin"

#ifdef __linux__
    .section .note.GNU-stack, "", %progbits
#endif
