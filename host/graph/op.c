/* Errors of shape rules. */
#include "facet/op.h"

#include <stdarg.h>

facet_status facet_op_shape_error(const facet_op_rule *rule, const char *file, int line, const char *format, ...) {
  char text[1024];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  return facet_error_set(FACET_ERROR_USAGE, file, line, "node \"%s\": %s", rule->node, text);
}
