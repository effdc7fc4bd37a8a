/* The suite on Redis Streams, on a real server. */
#include "redis_fixture.h"

int main(void)
{
    return redis_fixture_run("redis stream", true, false);
}
