// SPDX-License-Identifier: Apache-2.0
/*
 * Lets libbpf.a and libelf.a be part of a shared library. Debian and Ubuntu compile them for executables (-fPIE), which
 * leaves two references that a shared library can't have. Both are met here instead; archives compiled with -fPIC link
 * the same way.
 */
#include <stdio.h>

/* libbpf reads `stderr` as if it lay in its own image: --wrap=stderr sends it to a copy that does. */
extern FILE *__real_stderr;
__attribute__((visibility("hidden"))) FILE *__wrap_stderr;

__attribute__((constructor)) static void copy_stderr(void)
{
	__wrap_stderr = __real_stderr;
}

/*
 * libelf's elf_error.o keeps its error number in a thread-local variable of an executable. With its functions defined
 * here the linker does not take that member. libbpf reads ELF from this library's own bytes, and says what is wrong
 * with them in messages of its own as well.
 */
static __thread int error_number;

void __libelf_seterrno(int number);
int elf_errno(void);
const char *elf_errmsg(int number);

void __libelf_seterrno(int number)
{
	error_number = number;
}

int elf_errno(void)
{
	int number = error_number;

	error_number = 0;
	return number;
}

const char *elf_errmsg(int number)
{
	static __thread char text[32];

	if (number == 0 || number == -1) /* 0: only if there was one; -1: the last one (libelf.h) */
		number = error_number;
	snprintf(text, sizeof(text), "libelf error %d", number);
	return text;
}
