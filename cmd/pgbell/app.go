package main

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/urfave/cli/v3"
)

func newApp(stdout, stderr io.Writer) *cli.Command {
	app := &cli.Command{
		Name:      "pgbell",
		Usage:     "rings when rows of a PostgreSQL database change",
		Writer:    stdout,
		ErrWriter: stderr,
		Flags:     []cli.Flag{databaseFlag(), &cli.BoolFlag{Name: "version", Usage: "print the version of this program", Local: true}},
		Commands: []*cli.Command{
			migrateCommand(),
			attachCommand(),
			detachCommand(),
			feedsCommand(),
			serveCommand(),
			tailCommand(),
			explainCommand(),
			depsCommand(),
			typesCommand(),
			doctorCommand(),
			tokenCommand(),
			demoCommand(),
			versionCommand(),
			healthcheckCommand(),
		},
		Action:         noCommand,
		ExitErrHandler: func(context.Context, *cli.Command, error) {}, // run prints and exits
	}
	enableCompletion(app)
	_ = app.Walk(func(c *cli.Command) error { // which never fails
		action := c.Action
		c.Action = func(ctx context.Context, c *cli.Command) error {
			if err := action(ctx, c); err != nil {
				return &actionError{err, c.Name}
			}
			return nil
		}
		c.OnUsageError = usageProblem
		c.ShellComplete = completeValues(c.ShellComplete)
		// A list takes one value per flag, as a value may hold a comma; in an
		// environment variable, one per line.
		c.SliceFlagSeparator = "\n"
		c.HideHelpCommand = c != app // else a table could not be called help
		return nil
	})
	return app
}

func init() {
	// The library takes the table of "attach tasks --help" for a topic of its own.
	cli.ShowCommandHelp = func(ctx context.Context, c *cli.Command, topic string) error {
		if c.Command(topic) == nil && c != c.Root() {
			return cli.ShowSubcommandHelp(c)
		}
		return cli.DefaultShowCommandHelp(ctx, c, topic)
	}
}

func noCommand(_ context.Context, c *cli.Command) error {
	if c.Bool("version") {
		return printVersion(c)
	}
	if !c.Args().Present() {
		return cli.ShowRootCommandHelp(c)
	}
	name := c.Args().First()
	near := c.Command(cli.SuggestCommand(c.VisibleCommands(), name))
	switch {
	case len(name) > 20: // may be a misplaced connection string: don't repeat it
		return usagef("no such command: see pgbell --help")
	case near == nil || near.Name[0] != name[0]: // the nearest of all may still be far
		return usagef("no such command %q: see pgbell --help", name)
	}
	return usagef("no such command %q: did you mean %s?", name, near.Name)
}

// usageProblem puts the library's words for a bad flag into ours.
func usageProblem(_ context.Context, c *cli.Command, err error, _ bool) error {
	if flag, ok := strings.CutPrefix(err.Error(), "flag provided but not defined: -"); ok {
		near := strings.TrimLeft(cli.SuggestFlag(append(c.VisibleFlags(), c.Root().VisibleFlags()...), flag, true), "-")
		if len(flag) > 1 && strings.HasPrefix(near, flag[:2]) { // the nearest of all may still be far
			return usagef("no such flag --%s: did you mean --%s?", flag, near)
		}
		return usagef("no such flag --%s: see %s --help", flag, c.FullName())
	}
	if m := badValue.FindStringSubmatch(err.Error()); m != nil {
		return usagef("--%s: %s", m[2], valueProblem(m[1], m[3]))
	}
	return err
}

// How the library says that a flag's value, or that of its environment variable, can't be read.
var (
	badValue    = regexp.MustCompile(`(?s)^invalid value "(.*)" for flag -+([a-z0-9-]+): (.*)$`)
	badVariable = regexp.MustCompile(`(?s)^could not parse "(.*)" as \S+ value from environment variable "?(\w+)"? for flag [a-z0-9-]+: (.*)$`)
)

// valueProblem says what a value should have been, by the words of Go's parsers.
func valueProblem(value, words string) string {
	switch {
	case strings.Contains(words, "value out of range"):
		return fmt.Sprintf("%q is too large", value)
	case strings.Contains(words, "strconv.ParseInt"), strings.Contains(words, "strconv.ParseUint"):
		return fmt.Sprintf("%q is no whole number", value)
	case strings.Contains(words, "strconv.ParseFloat"):
		return fmt.Sprintf("%q is no number", value)
	case strings.Contains(words, "strconv.ParseBool"), words == "parse error":
		return fmt.Sprintf("%q is neither true nor false", value)
	case strings.Contains(words, "time: "):
		return fmt.Sprintf("%q is no time such as 500ms, 10s or 1h30m", value)
	}
	return words
}

// noArguments refuses arguments after the flags. It does not repeat them: one
// may be a connection string with a password.
func noArguments(c *cli.Command) error {
	if c.Args().Present() {
		return usagef("%s takes no arguments: see pgbell %s --help", c.Name, c.Name)
	}
	return nil
}

// tableArgument returns the only argument, a table.
func tableArgument(c *cli.Command) (string, error) {
	if n := c.Args().Len(); n != 1 {
		return "", usagef("%s takes one TABLE, got %d: see pgbell %s --help", c.Name, n, c.Name)
	}
	return c.Args().First(), nil
}

// actionError is what an action returned, as opposed to the command line's parser.
type actionError struct {
	error
	command string
}

func (e *actionError) Unwrap() error { return e.error }

// usageError ends the program with exit code 2.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}
