/* The suite on Redis Streams over TLS, whose kinds of connection are all there are, on a real server. */
#include "redis_fixture.h"

int main(void)
{
    return redis_fixture_run("redis stream, TLS", true, true);
}
