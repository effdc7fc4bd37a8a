/* main() of a fuzz harness without libFuzzer: gives it each file that is named, and each file in
 * each folder that is named. */
#include <dirent.h>
#include <sys/stat.h>

#include "fuzz.h"

static unsigned files;

static void replay_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    HOLDS(f);
    HOLDS(fseek(f, 0, SEEK_END) == 0);
    long size = ftell(f);
    HOLDS(size >= 0);
    rewind(f);
    /* Exactly as large as it is, so that a sanitizer sees one byte too many. */
    uint8_t *data = malloc(size ? (size_t)size : 1);
    HOLDS(data);
    HOLDS(fread(data, 1, (size_t)size, f) == (size_t)size);
    fclose(f);
    (void)LLVMFuzzerTestOneInput(data, (size_t)size);
    free(data);
    files++;
}

static void replay(const char *path)
{
    struct stat s;
    HOLDS(stat(path, &s) == 0);
    if (!S_ISDIR(s.st_mode)) {
        replay_file(path);
        return;
    }
    DIR *dir = opendir(path);
    HOLDS(dir);
    for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        char name[4096];
        if (e->d_name[0] == '.') continue;
        snprintf(name, sizeof name, "%s/%s", path, e->d_name);
        replay(name);
    }
    closedir(dir);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        replay(argv[i]);
    printf("%s: %u inputs\n", argv[0], files);
    return files > 0 ? 0 : 1;
}
