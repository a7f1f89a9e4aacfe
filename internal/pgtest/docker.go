package pgtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/modules/postgres"
)

// fromDocker runs the image named by PGBELL_TEST_IMAGE in a container.
func fromDocker(ctx context.Context) (source, error) {
	if err := pingDocker(ctx); err != nil {
		return source{}, fmt.Errorf("%w: %w", errAbsent, err)
	}
	ctx, cancel := context.WithTimeout(ctx, patience) // an image may have to come first
	defer cancel()
	image := cmp.Or(os.Getenv("PGBELL_TEST_IMAGE"), "postgres:17-alpine")
	command := []string{"postgres"}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		command = append(command, "-c", name+"="+settings[name])
	}
	container, err := postgres.Run(ctx, image, testcontainers.WithCmd(command...), postgres.BasicWaitStrategies())
	stop := func() error {
		return testcontainers.TerminateContainer(container, testcontainers.StopTimeout(0))
	}
	if err != nil {
		return source{}, errors.Join(fmt.Errorf("image %s: %w", image, err), stop())
	}
	connString, err := container.ConnectionString(ctx, "sslmode=disable")
	if err != nil {
		return source{}, errors.Join(err, stop())
	}
	return source{from: "image " + image + " in Docker, by testcontainers", url: connString, stop: stop}, nil
}

// pingDocker reports why Docker can't be used.
func pingDocker(ctx context.Context) (err error) {
	defer func() {
		if cause := recover(); cause != nil { // testcontainers panics where it finds no Docker
			err = fmt.Errorf("%v", cause)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	docker, err := testcontainers.NewDockerClientWithOpts(ctx)
	if err != nil {
		return err
	}
	_, err = docker.Ping(ctx)
	return errors.Join(err, docker.Close())
}
