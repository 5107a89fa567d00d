/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP messages that leave nothing to interpret: what src/wire/ makes of them is known without reading them there. Whatever is
 * in the least unusual is not plain, which is no judgement but leaves it to src/wire/.
 */
#ifndef IMDS_PLAIN_HTTP_H
#define IMDS_PLAIN_HTTP_H

#include <stdbool.h>
#include <stdint.h>

/* Longest head that is looked at. */
#define IMDS_PLAIN_HEAD_MAX 2048

struct imds_plain_request {
	uint32_t query, query_length; /* from its question mark on; where it would be if there is none */
};

/* Whether all of the bytes are one request without a body, of a method whose response is framed by its own head. */
bool imds_plain_request(const uint8_t *at, uint32_t length, struct imds_plain_request *request);

/* Whether the bytes are such a query, or none. */
bool imds_plain_query(const uint8_t *at, uint32_t length);

struct imds_plain_response {
	uint16_t status; /* 200 to 599 */
	uint8_t minor; /* HTTP/1.minor: 0 or 1 */
	uint32_t head_length, body_length; /* body_length: as announced */
};

/* Whether the bytes begin with the head of a final response, whose body is as long as Content-Length says. */
bool imds_plain_response(const uint8_t *at, uint32_t length, struct imds_plain_response *response);

#endif
