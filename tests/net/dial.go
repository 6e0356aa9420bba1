// Dials HOST:PORT within SECONDS with Go's dialer, as the kubelet's probes do, and prints the result as JSON.
package main

import (
	"encoding/json"
	"errors"
	"net"
	"os"
	"strconv"
	"time"
)

type result struct {
	Address string  // the address that accepted the connection, or that the error names
	Error   string  // empty, "timeout" or "connect"
	Seconds float64 // until the result
}

func main() {
	seconds, err := strconv.ParseFloat(os.Args[2], 64)
	if err != nil {
		panic(err)
	}
	began := time.Now()
	conn, err := net.DialTimeout("tcp", os.Args[1], time.Duration(seconds*float64(time.Second)))
	took := time.Since(began).Seconds()
	var failure *net.OpError
	switch {
	case err == nil:
		print(result{conn.RemoteAddr().String(), "", took})
	case !errors.As(err, &failure) || failure.Addr == nil:
		panic(err)
	case failure.Timeout():
		print(result{failure.Addr.String(), "timeout", took})
	default:
		print(result{failure.Addr.String(), "connect", took})
	}
}

func print(found result) {
	if err := json.NewEncoder(os.Stdout).Encode(found); err != nil {
		panic(err)
	}
}
