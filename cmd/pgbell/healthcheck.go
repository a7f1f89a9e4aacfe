package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/urfave/cli/v3"
)

// healthcheckCommand is for a container's HEALTHCHECK, whose image has no curl.
func healthcheckCommand() *cli.Command {
	return &cli.Command{
		Name:   "healthcheck",
		Usage:  "ask a running pgbell serve whether it is alive",
		Hidden: true,
		Flags: []cli.Flag{
			addrFlag(),
			stringFlag("tls-cert", "", "it serves HTTPS, as it does with this flag; the `FILE` is not read"),
		},
		Action: healthcheck,
	}
}

func healthcheck(ctx context.Context, c *cli.Command) error {
	if err := noArguments(c); err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(c.String("addr"))
	if err != nil {
		return badAddr(c)
	}
	switch host { // all addresses are reached by this machine's own
	case "", "0.0.0.0":
		host = "127.0.0.1"
	case "::":
		host = "::1"
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	client, scheme := http.DefaultClient, "http"
	if c.String("tls-cert") != "" {
		// The certificate is for another name than the address asked here. The request
		// holds no secret, and another program in the server's place may answer it.
		client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
		scheme = "https"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+net.JoinHostPort(host, port)+"/healthz", nil)
	if err != nil {
		return badAddr(c)
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		why, _ := io.ReadAll(io.LimitReader(resp.Body, 200)) // what there is of it
		return fmt.Errorf("%s answers %s: %s", req.URL, resp.Status, why)
	}
	return nil
}
