# wsbus: build, run, test, install. `make help` lists the targets.
#
# Needs GNU make and a C11 compiler. `make run`, `make test` and `make lint` install what they need
# from Debian (deploy/packages); plain `make` installs nothing.

VERSION := 0.1.0

# ---------------------------------------------------------------- what may be set from outside
SAN ?=
V ?=
CASES ?=
ARGS ?=
PREFIX ?= /usr/local
DESTDIR ?=
WERROR ?= -Werror
IMAGE ?= wsbus:$(VERSION)
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
TLS ?=

ifeq ($(SAN),)
B      := build
CFLAGS ?= -O2 -g -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
HARDEN := -fstack-protector-strong -fPIE
HARDEN_LINK := -pie -Wl,-z,relro,-z,now
else ifeq ($(SAN),address)
B      := build/san-address
CFLAGS ?= -O1 -g
HARDEN := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
HARDEN_LINK := -fsanitize=address,undefined
else ifeq ($(SAN),thread)
B      := build/san-thread
CFLAGS ?= -O1 -g
HARDEN := -fsanitize=thread -fno-omit-frame-pointer
HARDEN_LINK := -fsanitize=thread
else ifeq ($(SAN),fuzz)
# libFuzzer is clang's.
B      := build/fuzz
CC     := clang
CFLAGS ?= -O1 -g
HARDEN := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined \
          -fno-omit-frame-pointer
HARDEN_LINK := -fsanitize=fuzzer-no-link,address,undefined
else
$(error SAN=$(SAN): say SAN=address, SAN=thread or nothing)
endif

# ---------------------------------------------------------------- flags
pkg_flags = $(shell pkg-config --silence-errors $(1) $(2) 2>/dev/null)
LIBRARIES := libwebsockets libuv libcjson hiredis rdkafka openssl zlib
LIB_CFLAGS := $(sort $(foreach l,$(LIBRARIES) cmocka,$(call pkg_flags,--cflags,$(l))))
LIB_DIRS   := $(sort $(foreach l,$(LIBRARIES) cmocka,$(call pkg_flags,--libs-only-L,$(l))))

# What the sources ask for, and what the checkers are given too.
SOURCE_FLAGS := -std=c11 -D_GNU_SOURCE -DWSBUS_VERSION='"$(VERSION)"' -Isrc -Iinclude
WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes \
            -Wvla -Wformat=2 $(WERROR)
ALL_CFLAGS  = $(SOURCE_FLAGS) $(LIB_CFLAGS) $(WARNINGS) $(HARDEN) $(CPPFLAGS) $(CFLAGS)
ALL_LDFLAGS = $(HARDEN_LINK) $(LIB_DIRS) $(LDFLAGS)
LDLIBS = -lwebsockets -luv -lcjson -lhiredis -lrdkafka -lssl -lcrypto -lz -lpthread

# ---------------------------------------------------------------- files
SOURCES  := $(sort $(wildcard src/*/*.c))
UNITS    := $(sort $(wildcard tests/unit/test_*.c))
UNIT_AID := $(filter-out $(UNITS),$(sort $(wildcard tests/unit/*.c)))
CONTRACT := $(sort $(wildcard tests/contract/*.c))

FUZZ     := $(sort $(wildcard tests/fuzz/fuzz_*.c))

object = $(patsubst %.c,$(B)/obj/%.o,$(1))
UNIT_BINS     := $(patsubst tests/unit/%.c,$(B)/tests/%,$(UNITS))
# One program for each backend: the suite and its fixture.
FIXTURES      := $(filter tests/contract/fixture_%,$(CONTRACT))
CONTRACT_BINS := $(patsubst tests/contract/fixture_%.c,$(B)/tests/test_contract_%,$(FIXTURES))
# What ThreadSanitizer does not know by itself.
SAN_AID       := $(if $(filter thread,$(SAN)),tests/sanitizers/threads.c)
# Harnesses: those that replay what is kept, and with SAN=fuzz those that search.
REPLAY_BINS   := $(patsubst tests/fuzz/%.c,$(B)/tests/%,$(FUZZ))
FUZZ_BINS     := $(patsubst tests/fuzz/%.c,$(B)/%,$(FUZZ))
# Those measurements that are linked with the sources: the bridge on one thread, without sockets.
STAGE         := tests/bench/stage.c
STAGED        := tests/bench/guard.c tests/bench/pinned.c tests/bench/grow.c
OBJECTS       := $(call object,$(SOURCES) src/main.c $(UNITS) $(UNIT_AID) $(CONTRACT) $(FUZZ) \
                   tests/fuzz/replay.c $(SAN_AID) $(STAGE) $(STAGED))

# What the binary serves by itself: the files that src/web/assets names, as C data.
PACKAGE := $(B)/web/package
ASSETS  := $(shell awk '/^\// { print $$2 }' src/web/assets)
ASSET_FILES := $(patsubst package/%,$(PACKAGE)/%,$(filter package/%,$(ASSETS))) \
               $(addprefix src/web/,$(filter-out package/%,$(ASSETS)))

ifeq ($(V),)
say = @printf '  %-5s %s\n' $(1) $(2);
else
say =
endif

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: all tests FORCE

all: $(B)/wsbus ## build/wsbus (SAN=address or SAN=thread: build/san-…/wsbus)

tests: $(UNIT_BINS) $(CONTRACT_BINS) $(REPLAY_BINS) ## builds the C tests, runs nothing

$(B)/wsbus: $(B)/obj/src/main.o $(call object,$(SAN_AID)) $(B)/libwsbus.a
	$(call say,LINK,$@)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ $(LDLIBS)

# Made anew each time, so that an object whose source is gone does not stay inside.
$(B)/libwsbus.a: $(call object,$(SOURCES)) $(B)/web/assets.o $(B)/members
	$(call say,AR,$@)rm -f $@ && $(AR) rcs $@ $(filter %.o,$^)

$(UNIT_BINS): $(B)/tests/%: $(B)/obj/tests/unit/%.o $(call object,$(UNIT_AID) $(SAN_AID)) $(B)/libwsbus.a
	$(call say,LINK,$@)mkdir -p $(@D) && \
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ -lcmocka $(LDLIBS)

$(CONTRACT_BINS): $(B)/tests/test_contract_%: $(B)/obj/tests/contract/fixture_%.o \
    $(call object,$(filter-out $(FIXTURES),$(CONTRACT)) $(SAN_AID)) $(B)/libwsbus.a
	$(call say,LINK,$@)mkdir -p $(@D) && \
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ -lcmocka $(LDLIBS)

$(REPLAY_BINS): $(B)/tests/%: $(B)/obj/tests/fuzz/%.o $(B)/obj/tests/fuzz/replay.o \
    $(call object,$(SAN_AID)) $(B)/libwsbus.a
	$(call say,LINK,$@)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ $(LDLIBS)

$(FUZZ_BINS): $(B)/fuzz_%: $(B)/obj/tests/fuzz/fuzz_%.o $(B)/libwsbus.a
	$(call say,LINK,$@)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(LDLIBS)

# What stage.c and pinned.c define stands before the library, whose own is then left out.
$(B)/bench/guard: $(call object,tests/bench/guard.c tests/bench/pinned.c $(STAGE)) $(B)/libwsbus.a
	$(call say,LINK,$@)mkdir -p $(@D) && \
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -Wl,--as-needed -o $@ $^ $(LDLIBS)

$(B)/bench/grow: $(call object,tests/bench/grow.c $(STAGE)) $(B)/libwsbus.a
	$(call say,LINK,$@)mkdir -p $(@D) && \
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -Wl,--as-needed -o $@ $^ $(LDLIBS)

$(OBJECTS): $(B)/obj/%.o: %.c $(B)/flags
	$(call say,CC,$<)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(PACKAGE)/wsbus.classic.js: $(addprefix src/web/,build wsbus.js wsbus.d.ts package.json README.md)
	$(call say,PACK,$(@D))src/web/build $(@D)

$(B)/web/assets.c: src/web/assets src/web/embed $(ASSET_FILES)
	$(call say,EMBED,$@)mkdir -p $(@D) && src/web/embed src/web/assets $(@D) >$@

$(B)/web/assets.o: $(B)/web/assets.c $(B)/flags
	$(call say,CC,$<)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

-include $(OBJECTS:.o=.d) $(B)/web/assets.d

# A file whose text is $(2), written only when that differs: what depends on it is then made again.
define stamp
	@mkdir -p $(@D); printf '%s\n' $(1) | cmp -s - $@ || printf '%s\n' $(1) > $@
endef
quote = '$(subst ','\'',$(1))'

$(B)/flags: FORCE
	$(call stamp,$(call quote,$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS)))

$(B)/members: FORCE
	$(call stamp,$(call quote,$(SOURCES)))

# ---------------------------------------------------------------- run, install
.PHONY: run install uninstall clean help packages
packages = @deploy/install-packages $(1)

TLS_PAIR := build/tls
TLS_ARGS := $(if $(TLS),--set listen.address=127.0.0.1:8443 \
    --set listen.tls.cert=$(TLS_PAIR)/cert.pem --set listen.tls.key=$(TLS_PAIR)/key.pem)

# The recipes below call make again: what a package brings (compiler, pkg-config) is seen then.
run: ## installs what is missing, builds, starts build/wsbus $(ARGS); TLS=1: https on 127.0.0.1:8443
	$(call packages,run build $(if $(TLS),tls))
	@$(MAKE) --no-print-directory -j$(JOBS) all $(if $(TLS),$(TLS_PAIR)/cert.pem)
	@exec $(B)/wsbus $(TLS_ARGS) $(ARGS)

# For this machine only: nobody vouches for it but itself.
$(TLS_PAIR)/cert.pem:
	@echo '  CERT  $@'
	@mkdir -p $(@D)
	@umask 077 && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 \
	    -keyout $(@D)/key.pem -out $@ -subj /CN=localhost \
	    -addext 'subjectAltName=DNS:localhost,DNS:*.localhost,IP:127.0.0.1,IP:::1' \
	    -addext extendedKeyUsage=serverAuth 2>$(@D)/openssl.log || { cat $(@D)/openssl.log; exit 1; }

packages: ## installs everything that run, test and lint need, and nothing else
	$(call packages,run build test lint)

install: all ## to $(DESTDIR)$(PREFIX)
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/include/wsbus \
	    $(DESTDIR)$(PREFIX)/share/doc/wsbus $(DESTDIR)$(PREFIX)/lib/systemd/system
	install -m 755 $(B)/wsbus $(DESTDIR)$(PREFIX)/bin/wsbus
	install -m 644 include/wsbus/backend.h $(DESTDIR)$(PREFIX)/include/wsbus/
	sed 's|/usr/local/bin|$(PREFIX)/bin|' deploy/wsbus.service \
	    >$(DESTDIR)$(PREFIX)/lib/systemd/system/wsbus.service
	install -m 644 LICENSE $(wildcard README.md SECURITY.md docs/*.md docs/*.svg) $(DESTDIR)$(PREFIX)/share/doc/wsbus/

uninstall: ## takes away what `install` put there
	rm -f $(DESTDIR)$(PREFIX)/bin/wsbus $(DESTDIR)$(PREFIX)/lib/systemd/system/wsbus.service
	rm -rf $(DESTDIR)$(PREFIX)/include/wsbus $(DESTDIR)$(PREFIX)/share/doc/wsbus

clean: ## removes build/
	rm -rf build

help: ## this list
	@echo 'wsbus $(VERSION)'; echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile
	@echo; echo '  Variables: CC  CFLAGS  CPPFLAGS  LDFLAGS  WERROR= (warnings do not stop)  V=1 (show commands)'
	@echo '             SAN=address|thread  ARGS="-c FILE"  TLS=1  PREFIX  DESTDIR  JOBS  IMAGE'

# ---------------------------------------------------------------- tests
.PHONY: conformance test test-full test-js test-browser test-kafka check-c check-fresh fuzz fuzzers
VENV := build/venv
NODE := build/node
KAFKA := build/kafka
SUITES := units fuzz contract e2e kafka js browser
READY := $(VENV)/ready $(NODE)/ready $(KAFKA)/ready

test: ## installs what tests need, builds, runs the whole suite (SAN=… with that build)
	$(call packages,run build test)
	@$(MAKE) --no-print-directory -j$(JOBS) all tests $(READY)
	@SAN=$(SAN) tests/run $(B) $(SUITES)

test-full: ## test with the long tests, then the suite under both sanitizers
	$(call packages,run build test)
	@$(MAKE) --no-print-directory -j$(JOBS) all tests $(READY)
	@SAN=$(SAN) TEST_FULL=1 tests/run $(B) $(SUITES)
	@$(MAKE) --no-print-directory SAN=address test
	@$(MAKE) --no-print-directory SAN=thread test

test-kafka: all tests $(VENV)/ready $(KAFKA)/ready ## the tests of Kafka alone, on a real broker
	@SAN=$(SAN) tests/run $(B) kafka

conformance: ## the Autobahn fuzzing client against /raw (CASES="6.* 9.1.*": some of it; COMPRESSION=0)
	$(call packages,run build test)
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@COMPRESSION=$(COMPRESSION) tests/conformance/run $(B) $(CASES)

test-js: all $(NODE)/ready ## wsbus.js under Node, against the daemon
	@SAN=$(SAN) tests/run $(B) js

test-browser: all $(NODE)/ready ## the pages and wsbus.js in Chromium and Firefox
	@SAN=$(SAN) tests/run $(B) browser

check-c: ## the C tests only: units and contract suite
	@$(MAKE) --no-print-directory -j$(JOBS) tests
	@SAN=$(SAN) tests/run $(B) units fuzz contract

TIME ?= 60
fuzz: ## searches with each fuzz harness for TIME=60 seconds (needs clang)
	$(call packages,run build lint)
	@$(MAKE) --no-print-directory -j$(JOBS) SAN=fuzz fuzzers
	@JOBS=$(JOBS) tests/fuzz/run $(TIME)

fuzzers: $(FUZZ_BINS)

check-fresh: ## as root: `make run`, `make test`, the unit in a fresh Debian 12 and 13 (needs debootstrap)
	tests/fresh/run bookworm
	tests/fresh/systemd bookworm
	tests/fresh/run trixie
	tests/fresh/systemd trixie

# Debian's own Python first: a version manager's may come without venv.
$(VENV)/ready: tests/e2e/requirements.txt tests/lint/requirements.txt
	@echo '  VENV  $(VENV)'
	@rm -rf $(VENV)
	@/usr/bin/python3 -m venv $(VENV) 2>/dev/null || python3 -m venv $(VENV)
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check \
	    $(foreach r,$^,--requirement $(r))
	@touch $@

# The versions of the lock file, from npm; scripts of packages are not run.
$(NODE)/ready: tests/js/package.json tests/js/package-lock.json
	@echo '  NPM   $(NODE)'
	@mkdir -p $(@D) && cp $^ $(@D)/
	@cd $(@D) && npm ci --silent --ignore-scripts --no-audit --no-fund
	@touch $@

# The broker, from Maven Central.
$(KAFKA)/ready: tests/kafka/pom.xml tests/kafka/broker
	@echo '  MVN   $(KAFKA)'
	@tests/kafka/broker jars >/dev/null
	@touch $@

# ---------------------------------------------------------------- bench
.PHONY: bench bench-guard bench-grow
BENCH_NODE := build/bench/node
comma := ,
# Parts add to what is there; the whole begins anew.
BENCH_FRESH := $(if $(ONLY)$(SERVERS),,--fresh)
ONLY ?= $(if $(QUICK),$(subst $() ,$(comma),A B C D F))
SERVERS ?=
ROUNDS ?= $(if $(QUICK),2,$(if $(FULL),9,7))
SECONDS ?= 0.7
BENCH_ARGS = $(BENCH_FRESH) --rounds $(ROUNDS) --seconds $(SECONDS) $(if $(FULL),--full) \
    $(if $(QUICK),--patience 0.2) \
    --only "$(ONLY)" --servers "$(SERVERS)"

bench: ## fan-out beside a floor and other servers: ten minutes; QUICK=1: two, FULL=1: everything
	$(call packages,run build bench $(if $(FULL),test))
	@$(MAKE) --no-print-directory -j$(JOBS) all $(BENCH_NODE)/ready $(if $(FULL),$(KAFKA)/ready)
	@CENTRIFUGO=$(CENTRIFUGO) python3 tests/bench/fanout.py $(BENCH_ARGS)

bench-guard: ## instructions of fixed pieces of work against those recorded (RECORD=1: records them)
	$(if $(SAN),$(error bench-guard counts the usual build: without SAN))
	$(call packages,run build test)
	@$(MAKE) --no-print-directory -j$(JOBS) $(B)/bench/guard
	@python3 tests/bench/guard.py $(B)/bench/guard --compiler '$(CC)' --flags '$(CFLAGS)' \
	    $(if $(RECORD),--record)

GROW_VENV := build/bench/grow-venv
bench-grow: ## what a delivery and a byte cost as the work grows; draws docs/growth.svg (a quarter of an hour)
	$(call packages,run build bench)
	@$(MAKE) --no-print-directory -j$(JOBS) all $(B)/bench/grow $(GROW_VENV)/ready
	@$(GROW_VENV)/bin/python tests/bench/grow.py --page

$(GROW_VENV)/ready: tests/bench/grow-requirements.txt
	@echo '  VENV  $(GROW_VENV)'
	@rm -rf $(GROW_VENV)
	@/usr/bin/python3 -m venv $(GROW_VENV) 2>/dev/null || python3 -m venv $(GROW_VENV)
	@$(GROW_VENV)/bin/pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

$(BENCH_NODE)/ready: tests/bench/package.json tests/bench/package-lock.json
	@echo '  NPM   $(BENCH_NODE)'
	@mkdir -p $(@D) && cp $^ $(@D)/
	@cd $(@D) && npm ci --silent --ignore-scripts --no-audit --no-fund
	@touch $@

# ---------------------------------------------------------------- lint
.PHONY: lint format
C_FILES = $(sort $(wildcard include/*/*.h src/*.[ch] src/*/*.[ch] tests/*/*.[ch] examples/*/*.[ch]))

lint: ## formats, layers, lengths, static analysis, clang's warnings, the options' manual page
	$(call packages,run build test lint)
	@$(MAKE) --no-print-directory -j$(JOBS) all $(VENV)/ready
	@JOBS=$(JOBS) SOURCE_FLAGS='$(subst ','\'',$(SOURCE_FLAGS) $(LIB_CFLAGS))' \
	    WARNINGS='$(WARNINGS)' tests/lint/run $(B) $(C_FILES)

format: $(VENV)/ready ## clang-format over all C files
	@$(VENV)/bin/clang-format -i $(C_FILES)

# ---------------------------------------------------------------- what is not ours
.PHONY: vendor
vendor: ## takes the chart library of the demo pages from npm anew (needs npm, openssl)
	src/web/vendor/refresh

# ---------------------------------------------------------------- container
.PHONY: image image-test
image: ## deploy/Dockerfile as $(IMAGE)
	docker build $(IMAGE_FLAGS) -f deploy/Dockerfile -t $(IMAGE) .

image-test: image $(VENV)/ready ## starts the image read-only and unprivileged, and talks to it
	deploy/image-test $(IMAGE) $(VENV)/bin/python
