# The front door. Each target does all of its own set-up: packages, build, models. A second run does only what is new.

CONFIGURATION ?= release
SWIFT_BUILD = swift build -c $(CONFIGURATION)

.PHONY: help run test bench build models packages install uninstall clean

PREFIX ?= /usr/local

help:
	@echo "make run      build all, start the local AI stack and the host, place one call, stay up (ONCE=1: end after the call)"
	@echo "make test     all tests, from the contract to real calls"
	@echo "make bench    the measurements of Benchmarks/, each against its threshold"
	@echo "make build    the host and the plugins, into plugins.d/"
	@echo "make models   the local AI stack: programs and models, into .cache/"
	@echo "make install    into PREFIX=/usr/local (DESTDIR=... before it): host, plugins, headers, templates; make uninstall"
	@echo "make clean    remove what was built; .cache/ keeps the models"

packages:
	@scripts/install-packages scripts/packages.txt

build: packages
	@$(SWIFT_BUILD)
	@scripts/stage-plugins $(CONFIGURATION)
	@scripts/render-clips $(CONFIGURATION)

install:
	@[ -x .build/$(CONFIGURATION)/vchost ] && [ -s plugins.d/.shipped.json ] || $(MAKE) build
	@CONFIGURATION=$(CONFIGURATION) scripts/install install "$(PREFIX)" "$(DESTDIR)"

uninstall:
	@scripts/install uninstall "$(PREFIX)" "$(DESTDIR)"

models: packages
	@services/setup

run: build models
	@scripts/run

test:
	@scripts/install-packages scripts/packages.txt scripts/packages-test.txt
	@scripts/test

bench: build models
	@services/recordings && services/demo/build >.cache/log/demo-build.log
	@scripts/install-packages scripts/packages-test.txt
	@scripts/bench

clean:
	@scripts/unstage-plugins
	rm -rf .build
