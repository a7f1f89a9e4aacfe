//go:build !unix

package sse

import "net"

func bare(conn net.Conn) endpoint { return conn }
