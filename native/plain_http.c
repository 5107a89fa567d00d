// SPDX-License-Identifier: Apache-2.0
#include "plain_http.h"

#include <string.h>

/* Bytes of a token (RFC 9110 section 5.6.2) and those that may stand in a value here: printable ASCII and tabs. */
enum { TOKEN = 1, TEXT = 2, TARGET = 4 };

static const uint8_t classes[256] = {
	['\t'] = TEXT,
	[' '] = TEXT,
	['"'] = TEXT | TARGET, ['('] = TEXT | TARGET, [')'] = TEXT | TARGET, [','] = TEXT | TARGET,
	['/'] = TEXT | TARGET, [':'] = TEXT | TARGET, [';'] = TEXT | TARGET, ['<'] = TEXT | TARGET,
	['='] = TEXT | TARGET, ['>'] = TEXT | TARGET, ['?'] = TEXT | TARGET, ['@'] = TEXT | TARGET,
	['['] = TEXT | TARGET, ['\\'] = TEXT | TARGET, [']'] = TEXT | TARGET, ['{'] = TEXT | TARGET,
	['}'] = TEXT | TARGET,
	['!'] = TOKEN | TEXT | TARGET, ['#' ... '\''] = TOKEN | TEXT | TARGET, ['*' ... '+'] = TOKEN | TEXT | TARGET,
	['-' ... '.'] = TOKEN | TEXT | TARGET, ['0' ... '9'] = TOKEN | TEXT | TARGET,
	['A' ... 'Z'] = TOKEN | TEXT | TARGET, ['^' ... 'z'] = TOKEN | TEXT | TARGET, ['|'] = TOKEN | TEXT | TARGET,
	['~'] = TOKEN | TEXT | TARGET,
};

static bool is_name(const uint8_t *at, uint32_t length, const char *name)
{
	for (uint32_t i = 0; i < length; i++) {
		if ((at[i] >= 'A' && at[i] <= 'Z' ? at[i] + 32 : at[i]) != (uint8_t)name[i])
			return false;
	}
	return name[length] == '\0';
}

enum header { OTHER, CONTENT_LENGTH, SPECIAL };

/* Headers that say how long the body is, or that it is another protocol's: the names of src/wire/http-head.ts. */
static enum header header_named(const uint8_t *at, uint32_t length)
{
	switch (length) {
	case 14:
		return is_name(at, length, "content-length") ? CONTENT_LENGTH : OTHER;
	case 17:
		return is_name(at, length, "transfer-encoding") ? SPECIAL : OTHER;
	case 7:
		return is_name(at, length, "upgrade") ? SPECIAL : OTHER;
	default:
		return OTHER;
	}
}

/* `N` with blanks around it, up to its line end; up to 9 digits, without leading zeros. */
static bool read_length(const uint8_t *at, uint32_t length, uint32_t *value)
{
	uint32_t i = 0, digits = 0;

	*value = 0;
	while (i < length && (at[i] == ' ' || at[i] == '\t'))
		i++;
	for (; i < length && at[i] >= '0' && at[i] <= '9' && digits < 9; i++, digits++)
		*value = *value * 10 + (at[i] - '0');
	while (i < length && (at[i] == ' ' || at[i] == '\t'))
		i++;
	return digits > 0 && i == length;
}

/*
 * Reads header lines, each ended by CRLF, up to the blank line. Returns where that ends, 0 where something is unusual. `told`:
 * whether there is a Content-Length, of which there is one at most.
 */
static uint32_t read_headers(const uint8_t *at, uint32_t from, uint32_t length, bool *told, uint32_t *content_length)
{
	*told = false;
	*content_length = 0;

	for (uint32_t lines = 0; lines <= 64; lines++) {
		uint32_t name = from, value;

		if (length - from < 2)
			return 0;
		if (at[from] == '\r')
			return at[from + 1] == '\n' ? from + 2 : 0;
		while (from < length && (classes[at[from]] & TOKEN))
			from++;
		if (from == name || from == length || at[from] != ':')
			return 0;
		value = from + 1;
		for (from = value; from < length && (classes[at[from]] & TEXT);)
			from++;
		if (length - from < 2 || at[from] != '\r' || at[from + 1] != '\n')
			return 0;
		switch (header_named(at + name, value - 1 - name)) {
		case OTHER:
			break;
		case CONTENT_LENGTH:
			if (*told || !read_length(at + value, from - value, content_length))
				return 0;
			*told = true;
			break;
		case SPECIAL:
			return 0;
		}
		from += 2;
	}
	return 0;
}

bool imds_plain_request(const uint8_t *at, uint32_t length, struct imds_plain_request *request)
{
	static const char version[] = " HTTP/1.x\r\n";
	uint32_t method = 0, from, body;
	bool told;

	if (length > IMDS_PLAIN_HEAD_MAX)
		return false;
	while (method < length && method <= 16 && at[method] >= 'A' && at[method] <= 'Z')
		method++;
	/* Of these two the response is another. */
	if (method == 0 || (method == 4 && memcmp(at, "HEAD", 4) == 0) || (method == 7 && memcmp(at, "CONNECT", 7) == 0))
		return false;
	if (length - method < sizeof(version) + 2 || at[method] != ' ' || at[method + 1] != '/')
		return false;
	request->query = 0;
	for (from = method + 1; from < length && (classes[at[from]] & TARGET); from++) {
		if (at[from] == '?' && request->query == 0)
			request->query = from;
	}
	if (request->query == 0)
		request->query = from;
	request->query_length = from - request->query;
	if (length - from < sizeof(version) - 1 || memcmp(at + from, version, 8) != 0 ||
	    (at[from + 8] != '0' && at[from + 8] != '1') || memcmp(at + from + 9, version + 9, 2) != 0)
		return false;
	return read_headers(at, from + sizeof(version) - 1, length, &told, &body) == length && body == 0;
}

bool imds_plain_query(const uint8_t *at, uint32_t length)
{
	if (length > 0 && at[0] != '?')
		return false;
	for (uint32_t i = 0; i < length; i++) {
		if (!(classes[at[i]] & TARGET))
			return false;
	}
	return true;
}

bool imds_plain_response(const uint8_t *at, uint32_t length, struct imds_plain_response *response)
{
	uint32_t from = 13;
	bool told;

	/* HTTP/1.x NNN, then a reason, which may be empty or left out with its space. */
	if (length < 17 || memcmp(at, "HTTP/1.", 7) != 0 || (at[7] != '0' && at[7] != '1') || at[8] != ' ')
		return false;
	if (at[9] < '2' || at[9] > '5' || at[10] < '0' || at[10] > '9' || at[11] < '0' || at[11] > '9')
		return false;
	response->status = (uint16_t)((at[9] - '0') * 100 + (at[10] - '0') * 10 + (at[11] - '0'));
	/* These have no body, whatever they say of its length. */
	if (response->status == 204 || response->status == 304)
		return false;
	response->minor = at[7] - '0';
	if (length > IMDS_PLAIN_HEAD_MAX)
		length = IMDS_PLAIN_HEAD_MAX;
	if (at[12] == '\r')
		from = 12;
	else if (at[12] != ' ')
		return false;
	while (from < length && (classes[at[from]] & TEXT))
		from++;
	if (length - from < 2 || at[from] != '\r' || at[from + 1] != '\n')
		return false;
	response->head_length = read_headers(at, from + 2, length, &told, &response->body_length);
	return response->head_length > 0 && told;
}
