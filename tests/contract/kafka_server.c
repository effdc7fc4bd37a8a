#include "kafka_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <librdkafka/rdkafka.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

#define PATIENCE_MS 120000 /* its first start may fetch it */
#define ANSWER_MS 20000
#define TRIES 3

struct kafka_server {
    char folder[32]; /* "": it is somebody else's */
    char address[32], url[48];
    int port;
    pid_t pid;
    rd_kafka_t *admin;
    rd_kafka_queue_t *answers;
};

static int complain(const char *what, const char *why)
{
    fprintf(stderr, "kafka: %s: %s\n", what, why);
    return -1;
}

/* ---- asking it ----------------------------------------------------------------------------- */

static int open_admin(struct kafka_server *s)
{
    char err[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", s->address, err, sizeof(err));
    rd_kafka_conf_set(conf, "log_level", "0", err, sizeof(err));
    rd_kafka_conf_set(conf, "allow.auto.create.topics", "false", err, sizeof(err));
    s->admin = rd_kafka_new(RD_KAFKA_PRODUCER, conf, err, sizeof(err));
    if (!s->admin) return complain("no client", err);
    s->answers = rd_kafka_queue_new(s->admin);
    return 0;
}

/* The one answer; each kind has its results in a form of its own. */
static int take_answer(struct kafka_server *s, const char *what)
{
    rd_kafka_event_t *e = rd_kafka_queue_poll(s->answers, ANSWER_MS);
    if (!e) return complain(what, "no answer");
    size_t count = 0;
    const rd_kafka_topic_result_t **results = NULL;
    if (rd_kafka_event_CreateTopics_result(e))
        results =
            rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(e), &count);
    rd_kafka_resp_err_t err = rd_kafka_event_error(e);
    for (size_t i = 0; i < count && !err; i++)
        err = rd_kafka_topic_result_error(results[i]);
    rd_kafka_event_destroy(e);
    return err ? complain(what, rd_kafka_err2str(err)) : 0;
}

static bool has(struct kafka_server *s, rd_kafka_topic_t *topic, int partitions)
{
    const struct rd_kafka_metadata *md;
    if (rd_kafka_metadata(s->admin, 0, topic, &md, ANSWER_MS)) return false;
    const struct rd_kafka_metadata_topic *t = &md->topics[0];
    bool all = md->topic_cnt == 1 && !t->err && t->partition_cnt == partitions;
    for (int i = 0; all && i < partitions; i++)
        all = t->partitions[i].leader >= 0;
    rd_kafka_metadata_destroy(md);
    return all;
}

/* What was made is in all brokers' minds a little later. */
static int wait_for(struct kafka_server *s, const char *name, int partitions)
{
    uint64_t end = clock_ticks() + ANSWER_MS;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(s->admin, name, NULL);
    bool there = has(s, topic, partitions);
    while (!there && clock_ticks() < end) {
        poll(NULL, 0, 5);
        there = has(s, topic, partitions);
    }
    rd_kafka_topic_destroy(topic);
    return there ? 0 : complain(name, "it does not appear");
}

int kafka_server_create(struct kafka_server *s, const char *topic, int partitions)
{
    char err[256];
    rd_kafka_NewTopic_t *t = rd_kafka_NewTopic_new(topic, partitions, 1, err, sizeof(err));
    if (!t) return complain("new topic", err);
    rd_kafka_CreateTopics(s->admin, &t, 1, NULL, s->answers);
    int rc = take_answer(s, "new topic");
    rd_kafka_NewTopic_destroy(t);
    return rc < 0 ? -1 : wait_for(s, topic, partitions);
}

int kafka_server_shorten(struct kafka_server *s, const char *topic, unsigned keep)
{
    int64_t first, end;
    rd_kafka_resp_err_t err =
        rd_kafka_query_watermark_offsets(s->admin, topic, 0, &first, &end, ANSWER_MS);
    if (err) return complain("where a topic ends", rd_kafka_err2str(err));
    if (end - first <= keep) return 0;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, 0)->offset = end - keep;
    rd_kafka_DeleteRecords_t *records = rd_kafka_DeleteRecords_new(list);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_DeleteRecords(s->admin, &records, 1, NULL, s->answers);
    int rc = take_answer(s, "delete messages");
    rd_kafka_DeleteRecords_destroy(records);
    return rc;
}

/* ---- start and stop ------------------------------------------------------------------------ */

/* The first of two ports that are free. */
static int free_ports(void)
{
    for (int tries = 0; tries < 100; tries++) {
        int port[2] = {0, 0}, fd[2];
        for (int i = 0; i < 2; i++) {
            struct sockaddr_in address = {.sin_family = AF_INET,
                                          .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
            socklen_t size = sizeof(address);
            if (i == 1) address.sin_port = htons((uint16_t)(port[0] + 1));
            fd[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
            if (fd[i] >= 0 && bind(fd[i], (struct sockaddr *)&address, size) == 0 &&
                getsockname(fd[i], (struct sockaddr *)&address, &size) == 0)
                port[i] = ntohs(address.sin_port);
        }
        for (int i = 0; i < 2; i++)
            if (fd[i] >= 0) close(fd[i]);
        if (port[0] && port[1]) return port[0];
    }
    return 0;
}

static void become_server(const struct kafka_server *s)
{
    char text[8];
    snprintf(text, sizeof(text), "%d", s->port);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execl("tests/kafka/broker", "broker", "run", s->folder, text, (char *)NULL);
    _exit(127);
}

static bool answers(struct kafka_server *s)
{
    const struct rd_kafka_metadata *md;
    if (rd_kafka_metadata(s->admin, 1, NULL, &md, 200) != RD_KAFKA_RESP_ERR_NO_ERROR) return false;
    bool ready = md->broker_cnt == 1;
    rd_kafka_metadata_destroy(md);
    return ready;
}

static int await_answer(struct kafka_server *s)
{
    snprintf(s->address, sizeof(s->address), "127.0.0.1:%d", s->port);
    snprintf(s->url, sizeof(s->url), "kafka://%s", s->address);
    if (open_admin(s) < 0) return -1;
    uint64_t end = clock_ticks() + PATIENCE_MS;
    while (!answers(s)) {
        if (s->pid && waitpid(s->pid, NULL, WNOHANG) == s->pid) {
            s->pid = 0;
            return complain("the broker", "it ended");
        }
        if (clock_ticks() > end) return complain("the broker", "it does not answer");
    }
    return 0;
}

static int run(struct kafka_server *s)
{
    s->port = free_ports();
    s->pid = fork();
    if (s->pid == 0) become_server(s);
    if (s->pid < 0) return complain("no process", strerror(errno));
    return await_answer(s);
}

static int remove_one(const char *path, const struct stat *info, int flag, struct FTW *place)
{
    (void)info;
    (void)flag;
    (void)place;
    return remove(path);
}

static void end(struct kafka_server *s)
{
    if (s->answers) rd_kafka_queue_destroy(s->answers);
    if (s->admin) rd_kafka_destroy(s->admin);
    s->answers = NULL;
    s->admin = NULL;
    if (s->pid > 0) {
        kill(s->pid, SIGKILL);
        waitpid(s->pid, NULL, 0);
    }
    s->pid = 0;
    if (s->folder[0]) nftw(s->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    s->folder[0] = '\0';
}

struct kafka_server *kafka_server_start(void)
{
    struct kafka_server *s = mem_zero(sizeof(*s));
    const char *there = getenv("WSBUS_TEST_KAFKA");
    if (there) {
        if (sscanf(there, "127.0.0.1:%d", &s->port) == 1 && await_answer(s) == 0) return s;
        kafka_server_stop(s);
        complain(there, "no broker there");
        return NULL;
    }
    for (int i = 0; i < TRIES; i++) {
        snprintf(s->folder, sizeof(s->folder), "/tmp/wsbus-kafka-XXXXXX");
        if (!mkdtemp(s->folder)) {
            complain("no folder", strerror(errno));
            break;
        }
        if (run(s) == 0) return s;
        end(s);
    }
    free(s);
    return NULL;
}

void kafka_server_stop(struct kafka_server *s)
{
    if (!s) return;
    end(s);
    free(s);
}

const char *kafka_server_url(const struct kafka_server *s)
{
    return s->url;
}

void kafka_server_cut(struct kafka_server *s)
{
    int most = (int)sysconf(_SC_OPEN_MAX);
    for (int fd = 0; fd < most && fd < 4096; fd++) {
        struct sockaddr_in peer;
        socklen_t size = sizeof(peer);
        if (getpeername(fd, (struct sockaddr *)&peer, &size) == 0 && peer.sin_family == AF_INET &&
            ntohs(peer.sin_port) == s->port)
            shutdown(fd, SHUT_RDWR);
    }
}
