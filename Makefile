# The recipes that CI runs, and those that are too long for it.
.PHONY: demo test slow kill lint types layers format benchmark ci

demo:       ## the main job on the photographs that ship with the project
	thingsvision demo

test:       ## the default tests
	python -m pytest

slow:       ## the exhaustive tests: large networks, long runs
	python -m pytest -m slow

lint:       ## style
	ruff check .
	ruff format --check .

types:      ## annotations
	mypy

layers:     ## imports point down
	lint-imports

format:     ## put the style right
	ruff check --fix .
	ruff format .

kill:       ## runs killed at many moments, for every format; some minutes
	python -m pytest -m "slow or not slow" tests/reliability

benchmark:  ## speed and memory; on a quiet machine
	python benchmarks/extract.py
	python benchmarks/extract.py --memory

ci:         ## everything, as CI does it, in a new environment
	bash .ci/run
