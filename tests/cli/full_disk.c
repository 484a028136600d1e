/* A process whose files may not grow: as on a full disk the program says so, exits 4 and leaves nothing. */
#include "cli/program.h"

Test(cli_full_disk, synthesize_exits_4_and_leaves_nothing) {
  char directory[64];
  test_directory_create(directory);
  for (int kilobytes = 0; kilobytes <= 16; kilobytes += 4) { /* schema, tables, vocabularies or a shard */
    EXPECT_EXIT(4,
                program_shell("ulimit -f %d; exec $FACET synthesize --output %s/data --set users=40 --set items=900",
                              kilobytes * 2, directory),
                "File too large", directory);
    EXPECT_EXIT(1, program_shell("ls -A %s | grep .", directory)); /* nothing */
  }
  test_directory_remove(directory);
}
