/* Numbers and lists of names as text: shared by YAML, options and command-line arguments. */
#ifndef FACET_BASE_TEXT_H
#define FACET_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The whole text must be a decimal integer that fits ("-12"); false otherwise. */
bool facet_text_int(const char *text, int64_t *out);

/* The whole text must be a finite decimal number ("1e-3"; no hex, inf or nan); false otherwise. */
bool facet_text_double(const char *text, double *out);

/* The shortest decimal text that reads back to the same double. */
const char *facet_text_format_double(double value, char *buffer, size_t n_bytes);

/* An inclusive range in words into buffer: "from 1 to 10", "of at least 1", "of at most 10", or "" for none. Limits
 * beyond ±9e18 count as none. */
const char *facet_text_range(double low, double high, char *buffer, size_t n_bytes);

/* Whether an integer lies in a range given in doubles, exact beyond 2⁵³. */
bool facet_text_in_range(int64_t value, double low, double high);

/* "a, b, c" into buffer, cut with "…" when it does not fit; returns buffer. */
const char *facet_text_join(const char *const *names, int n, char *buffer, size_t n_bytes);

/* "[1, 2]" into buffer, cut when it does not fit; returns buffer. */
const char *facet_text_list(const int64_t *values, int64_t n, char *buffer, size_t n_bytes);

/* The end of a message about an unknown name: `; did you mean "batch_size"?`, or `; known <what>: a, b, c`. */
const char *facet_text_suggest(const char *name, const char *what, const char *const *names, int n, char *buffer,
                               size_t n_bytes);

/* Text as a double-quoted YAML scalar into buffer (4 bytes per byte and 3 more hold any); returns buffer. */
const char *facet_text_quote(const char *text, char *buffer, size_t n_bytes);

/* Number of entries of a NULL-terminated list. */
int facet_text_count(const char *const *names);

#endif
