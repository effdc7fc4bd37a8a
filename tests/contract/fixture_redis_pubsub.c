/* The suite on Redis channels, on a real server. */
#include "redis_fixture.h"

int main(void)
{
    return redis_fixture_run("redis pubsub", false, false);
}
