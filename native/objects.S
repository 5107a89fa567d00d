/* SPDX-License-Identifier: Apache-2.0 */
/* The two compiled kernel programs, as bytes of the library; found through the compiler's include path. */
	.section .rodata
	.balign 8
	.globl imds_object_core, imds_object_core_end, imds_object_plain, imds_object_plain_end
	.hidden imds_object_core, imds_object_core_end, imds_object_plain, imds_object_plain_end
imds_object_core:
	.incbin "imds.core.bpf.o"
imds_object_core_end:
	.balign 8
imds_object_plain:
	.incbin "imds.plain.bpf.o"
imds_object_plain_end:

	.section .note.GNU-stack, "", %progbits
