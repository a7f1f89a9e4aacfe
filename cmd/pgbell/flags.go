package main

import (
	"encoding/csv"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v3"
)

func databaseFlag() cli.Flag {
	return &cli.StringFlag{
		Name:    "database-url",
		Usage:   "connect to `URL`, such as postgres://user@host:5432/database or 'host=... dbname=...'; else DATABASE_URL, else libpq's PG* variables",
		Sources: cli.NewValueSourceChain(envSource("DATABASE_URL")),
	}
}

func jsonFlag() cli.Flag {
	return boolFlag("json", false, "print JSON")
}

func stringFlag(name, value, usage string) cli.Flag {
	return &cli.StringFlag{Name: name, Value: value, Usage: usage, Sources: fromEnv(name), Local: true}
}

func boolFlag(name string, value bool, usage string) cli.Flag {
	return &cli.BoolFlag{Name: name, Value: value, Usage: usage, Sources: fromEnv(name), Local: true}
}

func intFlag(name string, value int, usage string) cli.Flag {
	return &cli.IntFlag{Name: name, Value: value, Usage: usage, Sources: fromEnv(name), Local: true}
}

func floatFlag(name string, value float64, usage string) cli.Flag {
	return &cli.FloatFlag{Name: name, Value: value, Usage: usage, Sources: fromEnv(name), Local: true}
}

func durationFlag(name string, value time.Duration, usage string) cli.Flag {
	return &cli.DurationFlag{Name: name, Value: value, Usage: usage, Sources: fromEnv(name), Local: true}
}

func listFlag(name, usage string) cli.Flag {
	return &cli.StringSliceFlag{Name: name, Usage: usage, Sources: fromEnv(name), Local: true}
}

// columnsFlag is a list of column names; read it with columnList.
func columnsFlag(name, usage string) cli.Flag {
	return listFlag(name, usage+` (repeat it, or separate by commas; a name with a comma goes in double quotes)`)
}

// columnList returns the columns of a columnsFlag, nil if it is not given.
func columnList(c *cli.Command, name string) ([]string, error) {
	var all []string
	for _, value := range c.StringSlice(name) {
		r := csv.NewReader(strings.NewReader(value))
		r.TrimLeadingSpace = true
		columns, err := r.Read()
		if err != nil {
			return nil, usagef("--%s %s: quote a column name as in \"a,b\", a quote in it twice", name, value)
		}
		for _, column := range columns {
			if column = strings.TrimSpace(column); column == "" {
				return nil, usagef("--%s has an empty column name", name)
			}
			all = append(all, column)
		}
	}
	return all, nil
}

// fromEnv is the environment variable of a flag: PGBELL_ and its name.
func fromEnv(flag string) cli.ValueSourceChain {
	name := "PGBELL_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
	return cli.NewValueSourceChain(envSource(name))
}

// envSource is an environment variable that counts as unset when it is empty, as
// compose files and unit files like to leave it.
type envSource string

func (e envSource) Lookup() (string, bool) {
	v := os.Getenv(string(e))
	return v, v != ""
}

func (e envSource) IsFromEnv() bool  { return true }
func (e envSource) Key() string      { return string(e) }
func (e envSource) String() string   { return "environment variable " + string(e) }
func (e envSource) GoString() string { return e.String() }
