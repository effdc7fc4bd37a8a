/* A steady producer that costs next to nothing, into Kafka or, for comparison, into the bridge itself.
 *
 *     source kafka BROKERS TOPIC KEYS RATE COUNT LINGER [ACKS]
 *     source ws PORT CHANNEL KEYS RATE COUNT
 *
 * Sends COUNT messages of 100 bytes, {"t":NS,"n":N,"x":"…"}: NS is the monotonic clock at that moment, N
 * counts from 0. RATE a second, one by one where time allows it; up to 100 a second the pauses are
 * irregular, by half of themselves, so that nothing keeps step with them. With KEYS message N has the key
 * N modulo KEYS, on `ws` that number takes the place of the '#' in CHANNEL. LINGER: for so many ms Kafka's
 * producer gathers messages (its `linger.ms`).
 *
 * Prints one line of JSON: what was sent and acknowledged, and the time to the acknowledgement in ms. ACKS
 * is a file that gets the acknowledgement's time by the monotonic clock in ns, a line for each message. */
#include <arpa/inet.h>
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SIZE = 100, STEP_NS = 1000000 };

static struct {
    unsigned long keys, count;
    double rate;
    const char *name; /* topic or channel */
} job;

static rd_kafka_t *producer;
static rd_kafka_topic_t *topic;
static int sock = -1;
static uint64_t *sent_ns, *acked_ns;
static _Atomic unsigned long acked;

static void die(const char *what)
{
    fprintf(stderr, "source: %s\n", what);
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

static void sleep_until(uint64_t ns)
{
    struct timespec t = {.tv_sec = (time_t)(ns / 1000000000U), .tv_nsec = (long)(ns % 1000000000U)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) != 0) {
    }
}

/* ---- Kafka ---------------------------------------------------------------------------------- */

static void on_delivered(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
    (void)rk;
    (void)opaque;
    if (m->err) die(rd_kafka_err2str(m->err));
    acked_ns[(size_t)(uintptr_t)m->_private] = now_ns();
    acked++;
}

static void *poll_acks(void *arg)
{
    while (acked < job.count)
        rd_kafka_poll(producer, 100);
    return arg;
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char err[256];
    if (rd_kafka_conf_set(conf, name, value, err, sizeof(err)) != RD_KAFKA_CONF_OK) die(err);
}

static void open_kafka(const char *brokers, const char *linger_ms)
{
    char err[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "bootstrap.servers", brokers);
    set(conf, "linger.ms", linger_ms);
    set(conf, "socket.nagle.disable", "true");
    set(conf, "queue.buffering.max.messages", "1000000");
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivered);
    producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, err, sizeof(err));
    if (!producer) die(err);
    topic = rd_kafka_topic_new(producer, job.name, NULL);
    const struct rd_kafka_metadata *seen = NULL;
    if (rd_kafka_metadata(producer, 0, topic, &seen, 20000)) die("no answer of the broker");
    rd_kafka_metadata_destroy(seen);
}

static void send_kafka(unsigned long n, char *text)
{
    char key[32] = "";
    size_t len = 0;
    if (job.keys) len = (size_t)snprintf(key, sizeof(key), "%lu", n % job.keys);
    while (rd_kafka_produce(topic, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY, text, SIZE,
                            job.keys ? key : NULL, len, (void *)(uintptr_t)n) != 0) {
        if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL) die("not taken");
        sleep_until(now_ns() + STEP_NS);
    }
}

/* ---- WebSocket ------------------------------------------------------------------------------ */

static void write_all(const char *p, size_t n)
{
    for (ssize_t done; n > 0; p += done, n -= (size_t)done)
        if ((done = write(sock, p, n)) <= 0) die("the bridge has closed");
}

static void open_ws(const char *port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    char text[1024] = "";
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(sock, (struct sockaddr *)&to, sizeof(to)) != 0) die("no bridge");
    setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    int n = snprintf(text, sizeof(text),
                     "GET /ws HTTP/1.1\r\nHost: 127.0.0.1:%s\r\nUpgrade: websocket\r\n"
                     "Connection: Upgrade\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
                     "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: wsbus.v1\r\n\r\n",
                     port);
    write_all(text, (size_t)n);
    for (size_t got = 0; !strstr(text, "\"welcome\"");) {
        ssize_t more = recv(sock, text + got, sizeof(text) - got - 1, 0);
        if (more <= 0) die("no upgrade");
        for (ssize_t i = 0; i < more; i++) /* the head of the frame may hold a zero */
            if (!text[got + (size_t)i]) text[got + (size_t)i] = ' ';
        got += (size_t)more;
        text[got] = '\0';
    }
}

static void send_ws(unsigned long n, char *text)
{
    char out[512], *p = out + 8;
    size_t room = sizeof(out) - 8, len;
    char number[32] = "";
    const char *mark = strchr(job.name, '#');
    int before = mark ? (int)(mark - job.name) : (int)strlen(job.name);
    if (job.keys) snprintf(number, sizeof(number), "%lu", n % job.keys);
    len = (size_t)snprintf(p, room, "{\"type\":\"publish\",\"channel\":\"%.*s%s%s\",\"data\":%.*s}",
                           before, job.name, number, mark ? mark + 1 : "", SIZE, text);
    if (len >= room) die("the channel's name is too long");
    memcpy(out, "\x81\xfe\0\0\0\0\0\0", 8); /* the mask of zeros is as good as any here */
    out[2] = (char)(len >> 8);
    out[3] = (char)len;
    write_all(out, len + 8);
}

/* ---- pace ----------------------------------------------------------------------------------- */

/* When message n is due, after the start. */
static uint64_t due_ns(unsigned long n)
{
    double part = job.rate <= 100 ? (double)(n * 2654435761U % 1000) / 2000 : 0;
    return (uint64_t)(((double)n + part) / job.rate * 1e9);
}

static void run(void (*send)(unsigned long n, char *text))
{
    uint64_t began = now_ns();
    for (unsigned long n = 0; n < job.count;) {
        for (uint64_t now = now_ns(); n < job.count && began + due_ns(n) <= now; n++) {
            char text[SIZE + 1];
            sent_ns[n] = now_ns();
            int head = snprintf(text, sizeof(text), "{\"t\":%" PRIu64 ",\"n\":%lu,\"x\":\"",
                                sent_ns[n], n);
            memset(text + head, 'x', (size_t)(SIZE - head));
            memcpy(text + SIZE - 2, "\"}", 3);
            send(n, text);
        }
        uint64_t next = now_ns() + STEP_NS, due = began + due_ns(n);
        if (n < job.count) sleep_until(due > next || job.rate <= 100 ? due : next);
    }
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void report(void)
{
    double p50 = 0, p99 = 0;
    if (acked > 0) {
        for (size_t i = 0; i < job.count; i++)
            sent_ns[i] = acked_ns[i] - sent_ns[i];
        qsort(sent_ns, job.count, sizeof(*sent_ns), by_size);
        p50 = (double)sent_ns[job.count / 2] / 1e6;
        p99 = (double)sent_ns[job.count * 99 / 100] / 1e6;
    }
    printf("{\"sent\":%lu,\"acknowledged\":%lu,\"p50\":%.2f,\"p99\":%.2f}\n", job.count,
           (unsigned long)acked, p50, p99);
}

static void write_acks(const char *path)
{
    FILE *f = fopen(path, "w");
    if (!f) die(path);
    for (size_t i = 0; i < job.count; i++)
        fprintf(f, "%" PRIu64 "\n", acked_ns[i]);
    fclose(f);
}

int main(int argc, char **argv)
{
    bool kafka = argc > 1 && strcmp(argv[1], "kafka") == 0;
    if (argc < 7 + kafka || argc > 7 + 2 * kafka || (!kafka && strcmp(argv[1], "ws") != 0)) {
        fprintf(stderr, "usage: source kafka BROKERS TOPIC KEYS RATE COUNT LINGER [ACKS]\n"
                        "       source ws PORT CHANNEL KEYS RATE COUNT\n");
        return 2;
    }
    job.name = argv[3];
    job.keys = strtoul(argv[4], NULL, 10);
    job.rate = strtod(argv[5], NULL);
    job.count = strtoul(argv[6], NULL, 10);
    sent_ns = calloc(job.count + 1, sizeof(*sent_ns));
    acked_ns = calloc(job.count + 1, sizeof(*acked_ns));
    if (job.rate <= 0 || !sent_ns || !acked_ns) die("cannot do that");
    if (!kafka) {
        open_ws(argv[2]);
        run(send_ws);
    } else {
        pthread_t acks;
        open_kafka(argv[2], argv[7]);
        if (pthread_create(&acks, NULL, poll_acks, NULL) != 0) die("no thread");
        run(send_kafka);
        pthread_join(acks, NULL);
        if (argc > 8) write_acks(argv[8]);
        rd_kafka_topic_destroy(topic);
        rd_kafka_destroy(producer);
    }
    report();
    if (sock >= 0) close(sock);
    free(sent_ns);
    free(acked_ns);
    return 0;
}
