# One Makefile for everything; `make help` explains the targets.
#
# Sources are found by wildcard: a new file needs no change here.
# Objects go to $(BUILD)/obj; other kinds of build (sanitizers, clang, fuzz)
# are the same rules with another BUILD, CC and CFLAGS.

MAKEFLAGS += --no-builtin-rules
.SUFFIXES:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := all

VERSION := 0.1.0
SOVERSION := 0

BUILD   ?= build
ifeq ($(origin CC),default)
CC      := gcc
endif
CFLAGS  ?= -O2 -g
LDFLAGS ?=
# A newer compiler may find new things to warn of: WERROR= lets it.
WERROR  ?= -Werror
WARN    := -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla $(WERROR)
# A log is our word here, not the logarithm, whose built-in would be shadowed by it.
OUR_CFLAGS := -std=c11 -fno-builtin-log -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -I. -fPIC -pthread $(WARN)
FUZZ_SECONDS ?= 60
PREFIX  ?= /usr/local
DESTDIR ?=
UNITDIR ?= $(PREFIX)/lib/systemd/system

# Targets that need no library and so must not install one.
PLAIN_GOALS := help clean layers format format-check setup ci coverage planted
# $(BUILD)/config.mk names the libraries as this machine calls them. When it is missing,
# make installs what is missing through tools/setup, writes it, and starts over.
ifneq ($(filter-out $(PLAIN_GOALS),$(or $(MAKECMDGOALS),all)),)
include $(BUILD)/config.mk
endif

CORE_LIBS    := $(ISAL_LIBS) $(MSGPACK_LIBS) $(YAJL_LIBS) $(PCRE2_LIBS) -lm
SEGMENT_LIBS := $(LZ4_LIBS) -lpthread $(CORE_LIBS)
INDEXER_LIBS := $(SQLITE_LIBS) $(SEGMENT_LIBS)

# A file is a program's own when it has a main; everything else goes into its folder's archive.
with_main    = $(if $(1),$(shell grep -lE '^int main\b' $(1)))
core_src    := $(wildcard core/*.c)
segment_src := $(wildcard segment/*.c)
indexer_src := $(filter-out indexer/loadable.c,$(wildcard indexer/*.c))
client_src  := $(wildcard tools/client/*.c)
daemon_src  := $(wildcard tools/daybookd/*.c)
command_src := $(wildcard tools/daybook/*.c)
torture_src := $(wildcard tools/torture/*.c)
gateway_src := $(wildcard tools/zmq/*.c)
shared_src  := $(wildcard tools/*.c)
support_src := $(wildcard tests/support/*.c)

daemon_main  := $(call with_main,$(daemon_src))
command_main := $(call with_main,$(command_src))
gateway_main := $(call with_main,$(gateway_src))
shared_main  := $(call with_main,$(shared_src))

obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))

CORE     := $(BUILD)/libcore.a
SEGMENT  := $(BUILD)/libsegment.a
INDEXER  := $(BUILD)/libindexer.a
CLIENT   := $(BUILD)/libclient.a
SHARED   := $(BUILD)/libtools.a
DAEMON   := $(BUILD)/libdaybookd.a
COMMANDS := $(BUILD)/libcommands.a
TORTURE  := $(BUILD)/libtorture.a
GATEWAY  := $(BUILD)/libgateway.a
SUPPORT  := $(BUILD)/libsupport.a
LOWER    := $(INDEXER) $(SEGMENT) $(CORE)

programs := $(if $(daemon_main),$(BUILD)/daybookd) $(if $(command_main),$(BUILD)/daybook) \
            $(if $(gateway_main),$(BUILD)/daybook-zmq) $(patsubst tools/%.c,$(BUILD)/daybook-%,$(shared_main))
libraries := $(if $(client_src),$(BUILD)/libdaybook.a $(BUILD)/libdaybook.so) $(BUILD)/daybook.so

# One short line a file, none with `make -s`; V=1 shows the commands themselves.
quiet = $(if $(V),,@$(if $(findstring s,$(firstword -$(MAKEFLAGS))),,echo '$(1) $@'; ))

##@ Building

.PHONY: all
all: $(CORE) $(SEGMENT) $(INDEXER) $(programs) $(libraries) ## the daemon, the commands, the client library, the SQL extension: the default

$(BUILD)/config.mk: tools/setup
	@tools/setup build
	@mkdir -p $(@D)
	@tools/setup config >$@

.PRECIOUS: $(BUILD)/obj/%.o

# Rewritten only when the compiler or its flags change; every object depends on it.
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(CC) $(OUR_CFLAGS) $(CFLAGS) $(LDFLAGS)' | cmp -s - $@ || echo '$(CC) $(OUR_CFLAGS) $(CFLAGS) $(LDFLAGS)' >$@
.PHONY: FORCE
FORCE:

$(BUILD)/obj/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call quiet,CC )$(CC) $(OUR_CFLAGS) -MMD -MP $(CFLAGS) $(UNOPTIMISED) $(PLANTED) -c $< -o $@
# Tests compute little themselves, and Criterion's macros are long: this takes less than half the time.
$(foreach l,core segment indexer tools,$(BUILD)/obj/tests/$(l)/%.o): UNOPTIMISED := -O0
# make BUG=7 BUG_FILES=segment/writer.c: with a planted bug (tests/planted); nobody else sets these.
$(call obj,$(BUG_FILES)): PLANTED := -DBUG_$(BUG)

$(CORE):     $(call obj,$(core_src))
$(SEGMENT):  $(call obj,$(segment_src))
$(INDEXER):  $(call obj,$(indexer_src))
$(CLIENT):   $(call obj,$(client_src))
$(SHARED):   $(call obj,$(filter-out $(shared_main),$(shared_src)))
$(DAEMON):   $(call obj,$(filter-out $(daemon_main),$(daemon_src)))
$(COMMANDS): $(call obj,$(filter-out $(command_main),$(command_src)))
$(TORTURE):  $(call obj,$(torture_src))
$(GATEWAY):  $(call obj,$(filter-out $(gateway_main),$(gateway_src)))
$(SUPPORT):  $(call obj,$(support_src))
# The q flag: two folders may have files of one name, which r would let replace each other.
$(CORE) $(SEGMENT) $(INDEXER) $(CLIENT) $(SHARED) $(DAEMON) $(COMMANDS) $(TORTURE) $(GATEWAY) $(SUPPORT):
	@mkdir -p $(@D)
	@rm -f $@
	$(call quiet,AR )ar qcs $@ $^

link = $(call quiet,LD )$(CC) $(CFLAGS) $(LDFLAGS) -pthread -o $@ $(filter %.o,$^) $(filter %.a,$^) $(INDEXER_LIBS)

$(BUILD)/daybookd: $(call obj,$(daemon_main)) $(DAEMON) $(SHARED) $(CLIENT) $(LOWER)
	$(link)
# The shell `daybook sql` is the only thing that edits lines, the replay the only one that hashes.
$(BUILD)/daybook: $(call obj,$(command_main)) $(COMMANDS) $(TORTURE) $(SHARED) $(CLIENT) $(LOWER)
	$(link) $(EDIT_LIBS) $(NETTLE_LIBS) -ldl
# Only the gateway speaks ZeroMQ; of the daemon it has the words for people, and it knows no log.
$(BUILD)/daybook-zmq: private LDFLAGS += -Wl,--as-needed
$(BUILD)/daybook-zmq: $(call obj,$(gateway_main)) $(GATEWAY) $(DAEMON) $(SHARED) $(CLIENT) $(LOWER)
	$(link) $(ZMQ_LIBS)
$(BUILD)/daybook-%: $(BUILD)/obj/tools/%.o $(SHARED) $(CLIENT) $(LOWER)
	$(link)

# The installed library shows the symbols of daybook.h and nothing else, in both forms.
# Clients check no schemas and look for no fields.
library_obj := $(call obj,$(filter-out core/schema% core/msgpack_path%,$(core_src)) $(segment_src) $(client_src))
$(BUILD)/libdaybook.so: $(library_obj) tools/client/libdaybook.map
	$(call quiet,LD )$(CC) $(CFLAGS) $(LDFLAGS) -shared -pthread -Wl,-soname,libdaybook.so.$(SOVERSION) \
	    -Wl,--version-script=tools/client/libdaybook.map -Wl,--as-needed $(if $(findstring sanitize,$(CFLAGS)),,-Wl,-z,defs) \
	    -o $@ $(library_obj) $(SEGMENT_LIBS)
	@ln -sf libdaybook.so $@.$(SOVERSION)
$(BUILD)/libdaybook.a: $(library_obj)
	@rm -f $@
	@ld -r -o $(BUILD)/libdaybook.o $^
	@objcopy --wildcard --keep-global-symbol='daybook_*' $(BUILD)/libdaybook.o
	$(call quiet,AR )ar qcs $@ $(BUILD)/libdaybook.o
	@rm -f $(BUILD)/libdaybook.o

# The SQL extension: the layers below tools, with the SQLite of whoever loads it (indexer/sqlite.h).
# loadable.c is of no use to anybody else.
extension_obj := $(patsubst indexer/%.c,$(BUILD)/obj/loadable/%.o,$(indexer_src)) $(call obj,indexer/loadable.c)
$(BUILD)/obj/loadable/%.o: indexer/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call quiet,CC )$(CC) $(OUR_CFLAGS) -DDAYBOOK_LOADABLE -MMD -MP $(CFLAGS) $(PLANTED) -c $< -o $@
$(call obj,indexer/loadable.c): OUR_CFLAGS += -DDAYBOOK_LOADABLE
$(BUILD)/daybook.so: $(extension_obj) $(SEGMENT) $(CORE) indexer/loadable.map
	$(call quiet,LD )$(CC) $(CFLAGS) $(LDFLAGS) -shared -pthread -Wl,--version-script=indexer/loadable.map -Wl,--as-needed \
	    $(if $(findstring sanitize,$(CFLAGS)),,-Wl,-z,defs) -o $@ $(filter %.o %.a,$^) $(SEGMENT_LIBS)

##@ Testing

# One Criterion program a layer, linked with that layer's archive and those below, and nothing else.
test_src = $(wildcard tests/$(1)/*.c)
tools_test_main := $(call with_main,$(wildcard tests/tools/*.c))
layers_with_tests := $(foreach l,core segment indexer tools,$(if $(wildcard tests/$(l)/test_*.c),$(l)))
test_programs := $(layers_with_tests:%=$(BUILD)/tests/%) $(patsubst tests/tools/%.c,$(BUILD)/tests/%,$(tools_test_main))

$(BUILD)/tests/core:    $(call obj,$(call test_src,core))    $(SUPPORT) $(CORE)
$(BUILD)/tests/segment: $(call obj,$(call test_src,segment)) $(SUPPORT) $(SEGMENT) $(CORE)
$(BUILD)/tests/indexer: $(call obj,$(call test_src,indexer)) $(SUPPORT) $(LOWER)
$(BUILD)/tests/tools:   $(call obj,$(filter-out $(tools_test_main),$(call test_src,tools))) \
                        $(SUPPORT) $(GATEWAY) $(DAEMON) $(COMMANDS) $(TORTURE) $(SHARED) $(CLIENT) $(LOWER)
# Criterion's sandbox and TSan claim the same addresses: there a plain runner calls the tests.
# So does it with valgrind, which wants one process tree: PLAIN_RUNNER=1.
$(layers_with_tests:%=$(BUILD)/tests/%): $(if $(findstring sanitize=thread,$(CFLAGS))$(PLAIN_RUNNER),$(BUILD)/obj/tests/plain_runner.o)
	@mkdir -p $(@D)
	$(call quiet,LD )$(CC) $(CFLAGS) $(LDFLAGS) -pthread -o $@ $(filter %.o,$^) $(filter %.a,$^) $(CRITERION_LIBS) $(INDEXER_LIBS)
$(patsubst tests/tools/%.c,$(BUILD)/tests/%,$(tools_test_main)): $(BUILD)/tests/%: \
    $(BUILD)/obj/tests/tools/%.o $(SUPPORT) $(SHARED) $(CLIENT) $(LOWER)
	@mkdir -p $(@D)
	$(link)

# The campaigns: one program each, with a main of its own, over the simulated or the real disk.
campaign_programs := $(patsubst tests/campaigns/%.c,$(BUILD)/campaigns/%,$(call with_main,$(wildcard tests/campaigns/*.c)))
campaign_shared   := $(call obj,$(filter-out $(call with_main,$(wildcard tests/campaigns/*.c)),$(wildcard tests/campaigns/*.c)))
$(campaign_programs): $(BUILD)/campaigns/%: $(BUILD)/obj/tests/campaigns/%.o $(campaign_shared) \
                      $(SUPPORT) $(TORTURE) $(SHARED) $(CLIENT) $(LOWER)
	@mkdir -p $(@D)
	$(link)

fuzz_src := $(wildcard tests/fuzz/fuzz_*.c)
replay_programs := $(if $(wildcard tests/fuzz/replay.c),$(patsubst tests/fuzz/fuzz_%.c,$(BUILD)/fuzz/replay_%,$(fuzz_src)))
fuzz_programs   := $(patsubst tests/fuzz/fuzz_%.c,$(BUILD)/fuzz/fuzz_%,$(fuzz_src))
# What several targets share: everything beside them but the main of the replay programs. In an
# archive, so that a target takes only what it calls: one stands in for parts of the product.
FUZZ := $(BUILD)/libfuzz.a
$(FUZZ): $(call obj,$(filter-out $(fuzz_src) tests/fuzz/replay.c,$(wildcard tests/fuzz/*.c)))
	@mkdir -p $(@D)
	@rm -f $@
	$(call quiet,AR )ar qcs $@ $^
fuzz_libraries := $(FUZZ) $(DAEMON) $(COMMANDS) $(TORTURE) $(SHARED) $(CLIENT) $(LOWER)
$(BUILD)/fuzz/replay_%: $(BUILD)/obj/tests/fuzz/fuzz_%.o $(BUILD)/obj/tests/fuzz/replay.o \
                        $(fuzz_libraries)
	@mkdir -p $(@D)
	$(link)
$(BUILD)/fuzz/fuzz_%: $(BUILD)/obj/tests/fuzz/fuzz_%.o $(fuzz_libraries)
	@mkdir -p $(@D)
	$(call quiet,LD )$(CC) $(CFLAGS) $(LDFLAGS) -fsanitize=fuzzer -pthread -o $@ $(filter %.o,$^) $(filter %.a,$^) $(INDEXER_LIBS)

.PHONY: test-programs replay-programs fuzz-programs campaigns
test-programs: all $(test_programs)
campaigns: all $(campaign_programs)
replay-programs: $(replay_programs)
fuzz-programs: $(fuzz_programs)

ASAN_FLAGS := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
# It cannot see fences and says so; what they guard (segment/watermark.c) it checks by its atomics.
TSAN_FLAGS := -O1 -g -fno-omit-frame-pointer -fsanitize=thread -Wno-tsan
FUZZ_FLAGS := -O1 -g -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all

# Every processor, unless the caller has said how many.
JOBS = $(if $(filter -j% --jobserver%,$(MAKEFLAGS)),,-j$(shell nproc))

$(BUILD)/setup-test.stamp: tools/setup
	@tools/setup test
	@mkdir -p $(@D)
	@touch $@

.PHONY: test check
test: $(BUILD)/setup-test.stamp ## build and run every test; ends with `N passed, N failed`
	@echo 'building: release, with ASan and UBSan, with TSan'
	@$(MAKE) -s $(JOBS) --no-print-directory test-programs campaigns
	@$(MAKE) -s $(JOBS) --no-print-directory asan
	@$(MAKE) -s $(JOBS) --no-print-directory tsan
	@BUILD=$(BUILD) tests/run $(TESTS)
check: test ## the same as test
.PHONY: test-nightly planted coverage
test-nightly: $(BUILD)/setup-nightly.stamp ## the campaigns with large numbers, at most an hour
	@echo 'building: release, with ASan and UBSan, for valgrind, the fuzz targets'
	@$(MAKE) -s $(JOBS) --no-print-directory test-programs campaigns
	@$(MAKE) -s $(JOBS) --no-print-directory asan
	@$(MAKE) -s $(JOBS) --no-print-directory BUILD=$(BUILD)/valgrind CFLAGS='-O1 -g' PLAIN_RUNNER=1 test-programs
	@$(MAKE) -s $(JOBS) --no-print-directory BUILD=$(BUILD)/fuzz CC=clang CFLAGS='$(FUZZ_FLAGS)' fuzz-programs
	@BUILD=$(BUILD) FUZZ_SECONDS=$(FUZZ_SECONDS) tests/nightly $(TESTS)
$(BUILD)/setup-nightly.stamp: tools/setup
	@tools/setup nightly
	@mkdir -p $(@D)
	@touch $@
planted: $(BUILD)/setup-nightly.stamp ## test the tests: plant one bug at a time, a named test must notice
	@BUILD=$(BUILD) tests/planted/plant $(BUGS)
coverage: $(BUILD)/setup-test.stamp ## branch coverage of segment/ and of the decoders in core/
	@BUILD=$(BUILD)/coverage tests/coverage

.PHONY: asan tsan fuzz bench clang
asan: ## build everything and the tests with ASan and UBSan into $(BUILD)/asan
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/asan CFLAGS='$(ASAN_FLAGS)' test-programs replay-programs campaigns
tsan: ## build everything and the tests with TSan into $(BUILD)/tsan
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/tsan CFLAGS='$(TSAN_FLAGS)' all $(BUILD)/tsan/tests/segment $(BUILD)/tsan/tests/tools
clang: ## build everything and the tests with clang into $(BUILD)/clang
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/clang CC=clang test-programs
fuzz: ## run each fuzz target for FUZZ_SECONDS, 60 by default, starting from the committed corpus
	@tools/setup fuzz
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/fuzz CC=clang CFLAGS='$(FUZZ_FLAGS)' fuzz-programs
	@BUILD=$(BUILD) FUZZ_SECONDS=$(FUZZ_SECONDS) tests/fuzz_all
# The peers' drivers are compiled and run in a copy: their folder may be read-only.
.PHONY: bench-peers
bench-peers: all $(SUPPORT) ## Daybook beside its peers in one run: PEERS=DIR of their drivers
	@[ -f "$(PEERS)/bench.h" ] || { echo 'bench-peers: PEERS=DIR must name the peers'"'"' drivers' >&2; exit 2; }
	@rm -rf $(BUILD)/peers && mkdir -p $(BUILD)/peers && cp -r $(PEERS) $(BUILD)/peers/drivers && chmod -R u+w $(BUILD)/peers
	$(CC) $(CFLAGS) -std=gnu11 -D_GNU_SOURCE -I. -I$(BUILD)/peers/drivers -pthread -o $(BUILD)/peers/bench_daybook \
	    tests/peers/p_daybook.c $(BUILD)/peers/drivers/bench.c $(BUILD)/peers/drivers/gen.c \
	    $(SHARED) $(CLIENT) $(LOWER) $(INDEXER_LIBS)
	@BUILD=$(BUILD) tests/peers/run
# What another bus speaks, under the load of `daybook bench bus`.
$(BUILD)/bus_peer: $(call obj,$(wildcard tests/peers/bus*.c)) $(COMMANDS) $(SHARED) $(CLIENT) $(LOWER)
	$(link)
.PHONY: bench-bus
bench-bus: all $(BUILD)/bus_peer ## the bus beside Redis Streams and NATS JetStream, where their servers are there
	@BUILD=$(BUILD) tests/peers/run_bus
bench: all ## measure speed on this disk; BENCH_FLAGS="--dir DIR" for another
	$(BUILD)/daybook bench $(BENCH_FLAGS)

##@ Checking

headers_checked := $(wildcard core/*.h segment/*.h indexer/*.h tools/*.h tools/*/*.h tests/support/*.h)
.PHONY: layers headers man tidy format format-check
layers: ## fail on an include that points upward, or on a cycle of includes
	@tests/check_layers .
headers: $(headers_checked:%=$(BUILD)/headers/%.ok) ## compile each header alone
$(BUILD)/headers/%.ok: % $(BUILD)/flags
	@mkdir -p $(@D)
	@$(CC) $(OUR_CFLAGS) -MMD -MP -MT $@ -MF $(@:.ok=.d) -fsyntax-only -include $< -x c /dev/null
	@touch $@
man: ## check the man pages with mandoc
	@mandoc -T lint -W warning $(wildcard docs/man/*.[1-8]) && echo "man pages: no warnings"
c_files = $(wildcard core/*.[ch] segment/*.[ch] indexer/*.[ch] tools/*.[ch] tools/*/*.[ch] tests/*/*.[ch])
tidy: ## run clang-tidy over the sources for advice, never part of test
	clang-tidy --quiet $(filter %.c,$(filter-out tests/%,$(c_files))) -- $(OUR_CFLAGS)
format: ## rewrite the sources with clang-format 14, which is Debian 12's
	clang-format -i $(c_files)
format-check: ## fail when clang-format 14 would change a file
	clang-format --dry-run -Werror $(c_files)

##@ Using

units := $(wildcard tools/service/*.service tools/service/*.socket tools/service/*.timer)
.PHONY: demo install uninstall clean setup ci help
demo: ## build, then publish, follow, replay and query a few thousand events
	@bash -o pipefail -c '$(MAKE) $(JOBS) --no-print-directory all | tools/stages'
	@BUILD=$(BUILD) tools/demo.sh
install: all ## install programs, library, SQL extension, man pages and units below DESTDIR and PREFIX
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/pkgconfig $(DESTDIR)$(PREFIX)/include \
	    $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/man/man8 $(DESTDIR)$(PREFIX)/share/daybook \
	    $(DESTDIR)$(UNITDIR)
	install -m 755 $(BUILD)/daybookd $(BUILD)/daybook $(BUILD)/daybook-zmq $(DESTDIR)$(PREFIX)/bin
	install -m 644 $(BUILD)/libdaybook.a $(DESTDIR)$(PREFIX)/lib
	install -m 755 $(BUILD)/libdaybook.so $(DESTDIR)$(PREFIX)/lib/libdaybook.so.$(VERSION)
	ln -sf libdaybook.so.$(VERSION) $(DESTDIR)$(PREFIX)/lib/libdaybook.so.$(SOVERSION)
	ln -sf libdaybook.so.$(SOVERSION) $(DESTDIR)$(PREFIX)/lib/libdaybook.so
	install -m 644 tools/client/daybook.h $(DESTDIR)$(PREFIX)/include
	install -m 755 $(BUILD)/daybook.so $(DESTDIR)$(PREFIX)/lib
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' -e 's|@LIBS@|$(SEGMENT_LIBS)|' \
	    tools/client/libdaybook.pc.in >$(DESTDIR)$(PREFIX)/lib/pkgconfig/libdaybook.pc
	install -m 644 docs/man/*.1 $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 644 docs/man/*.8 $(DESTDIR)$(PREFIX)/share/man/man8
	sed -e 's|@PREFIX@|$(PREFIX)|' tools/service/ecosystem.config.js >$(DESTDIR)$(PREFIX)/share/daybook/ecosystem.config.js
	for unit in $(units); do \
	    sed -e 's|@PREFIX@|$(PREFIX)|' "$$unit" >$(DESTDIR)$(UNITDIR)/$${unit##*/}; done
uninstall: ## remove what install put there
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/bin/,daybookd daybook daybook-zmq) $(DESTDIR)$(PREFIX)/lib/libdaybook.* \
	    $(DESTDIR)$(PREFIX)/lib/daybook.so $(DESTDIR)$(PREFIX)/lib/pkgconfig/libdaybook.pc $(DESTDIR)$(PREFIX)/include/daybook.h \
	    $(addprefix $(DESTDIR)$(PREFIX)/share/man/man1/,$(notdir $(wildcard docs/man/*.1))) \
	    $(addprefix $(DESTDIR)$(PREFIX)/share/man/man8/,$(notdir $(wildcard docs/man/*.8))) \
	    $(addprefix $(DESTDIR)$(UNITDIR)/,$(notdir $(units))) $(DESTDIR)$(PREFIX)/share/daybook/ecosystem.config.js
clean: ## remove $(BUILD)
	rm -rf $(BUILD)
setup: ## install every package that building, testing and checking need
	@tools/setup ci
ci: ## everything that must pass before a change is taken
	@.ci/run
help: ## list the targets
	@echo 'usage: make [target] [BUILD=build] [CC=gcc] [CFLAGS="-O2 -g"] [V=1]'
	@awk -F':.*## ' '/^##@ /{printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## /{gsub(/[$$()]/, "", $$2); printf "  %-14s %s\n", $$1, $$2}' Makefile

-include $(shell find $(BUILD)/obj $(BUILD)/headers -name '*.d' 2>/dev/null)
