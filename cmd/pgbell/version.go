package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v3"
)

// Set by the linker in a release: -ldflags "-X main.version=... -X main.commit=...".
var version, commit string

type buildInfo struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Go      string `json:"go"`
}

// thisBuild is what is known of this program; what is not is "unknown".
func thisBuild() buildInfo {
	b := buildInfo{Version: version, Commit: commit, Go: runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		if b.Version == "" {
			b.Version = info.Main.Version
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && b.Commit == "" {
				b.Commit = s.Value
			}
		}
	}
	if b.Version == "" {
		b.Version = "unknown"
	}
	if b.Commit == "" {
		b.Commit = "unknown"
	}
	return b
}

func versionCommand() *cli.Command {
	return &cli.Command{
		Name:  "version",
		Usage: "print the version of this program",
		Flags: []cli.Flag{jsonFlag()},
		Action: func(_ context.Context, c *cli.Command) error {
			if err := noArguments(c); err != nil {
				return err
			}
			if c.Bool("json") {
				return printJSON(c.Root().Writer, thisBuild())
			}
			return printVersion(c)
		},
	}
}

func printVersion(c *cli.Command) error {
	b := thisBuild()
	from := b.Go
	if b.Commit != "unknown" { // as it is with go install of a version
		from = "commit " + b.Commit + ", " + from
	}
	_, err := fmt.Fprintf(c.Root().Writer, "pgbell %s (%s)\n", b.Version, from)
	return err
}
