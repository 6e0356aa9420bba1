// A client set up as the kubelet's prober, which the tables of the tests are compared with, and a server as a peer.
//
//	prober                          reads one probe a line as JSON, and prints its result: success, warning, failure or error
//	prober serve ADDRESS CERT KEY   serves HTTP/2 and HTTP/1.1 over TLS
package main

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	maxAttempts = 3
	maxBody     = 10 * 1024
)

type header struct{ Name, Value string }

// probe has the fields of a probe in a manifest. Kind is httpGet or tcpSocket.
type probe struct {
	Kind    string
	Scheme  string
	Host    string
	Port    int
	Path    string
	Headers []header
	Timeout float64
}

type result struct {
	Result  string `json:"result"`
	Message string `json:"message"`
}

func main() {
	log.SetOutput(io.Discard)
	if len(os.Args) == 5 && os.Args[1] == "serve" {
		serve(os.Args[2], os.Args[3], os.Args[4])
	}
	input := bufio.NewScanner(os.Stdin)
	output := json.NewEncoder(os.Stdout)
	for input.Scan() {
		var wanted probe
		if err := json.Unmarshal(input.Bytes(), &wanted); err != nil {
			fail(err)
		}
		output.Encode(retry(wanted))
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// retry repeats a probe that ends with an error (runProbeWithRetries in pkg/kubelet/prober/prober.go).
func retry(wanted probe) (last result) {
	timeout := time.Duration(wanted.Timeout * float64(time.Second))
	run := map[string]func(probe, time.Duration) result{"httpGet": httpGet, "tcpSocket": tcpSocket}[wanted.Kind]
	for attempt := 0; attempt < maxAttempts; attempt++ {
		if last = run(wanted, timeout); last.Result != "error" {
			break
		}
	}
	return last
}

// dialer closes connections within a second (ProbeDialer in pkg/probe/dialer_others.go).
func dialer() *net.Dialer {
	return &net.Dialer{Control: func(_, _ string, conn syscall.RawConn) error {
		return conn.Control(func(fd uintptr) {
			syscall.SetsockoptLinger(int(fd), syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1, Linger: 1})
		})
	}}
}

// httpGet is the prober of pkg/probe/http/http.go, with the transport of apimachinery's SetTransportDefaults.
func httpGet(wanted probe, timeout time.Duration) result {
	request, err := newRequest(wanted)
	if err != nil {
		return result{"error", err.Error()}
	}
	transport := &http.Transport{
		TLSClientConfig:     &tls.Config{InsecureSkipVerify: true},
		DisableKeepAlives:   true,
		Proxy:               http.ProxyURL(nil),
		DisableCompression:  true,
		DialContext:         dialer().DialContext,
		TLSHandshakeTimeout: 10 * time.Second,
		ForceAttemptHTTP2:   true,
	}
	client := &http.Client{Timeout: timeout, Transport: transport, CheckRedirect: follow}
	response, err := client.Do(request)
	if err != nil {
		return result{"failure", err.Error()}
	}
	defer response.Body.Close()
	if _, err := io.ReadAll(io.LimitReader(response.Body, maxBody)); err != nil {
		return result{"error", err.Error()}
	}
	switch code := response.StatusCode; {
	case code < 200 || code >= 400:
		return result{"failure", fmt.Sprintf("HTTP probe failed with statuscode: %d", code)}
	case code >= 300:
		return result{"warning", fmt.Sprintf("%s %d", response.Proto, code)}
	default:
		return result{"success", fmt.Sprintf("%s %d", response.Proto, code)}
	}
}

// follow permits redirects on the same host name (RedirectChecker).
func follow(request *http.Request, via []*http.Request) error {
	if request.URL.Hostname() != via[0].URL.Hostname() {
		return http.ErrUseLastResponse
	}
	if len(via) >= 10 {
		return errors.New("stopped after 10 redirects")
	}
	return nil
}

// newRequest builds what NewRequestForHTTPGetAction and formatURL of pkg/probe/http/request.go build.
func newRequest(wanted probe) (*http.Request, error) {
	target, err := url.Parse(wanted.Path)
	if err != nil {
		target = &url.URL{Path: wanted.Path}
	}
	target.Scheme = strings.ToLower(wanted.Scheme)
	target.Host = net.JoinHostPort(wanted.Host, strconv.Itoa(wanted.Port))
	request, err := http.NewRequest("GET", target.String(), nil)
	if err != nil {
		return nil, err
	}
	headers := http.Header{}
	for _, header := range wanted.Headers {
		headers.Add(header.Name, header.Value)
	}
	if _, ok := headers["User-Agent"]; !ok {
		headers.Set("User-Agent", "kube-probe/1.36")
	}
	if accept, ok := headers["Accept"]; !ok {
		headers.Set("Accept", "*/*")
	} else if accept[0] == "" {
		headers.Del("Accept")
	}
	request.Header = headers
	request.Host = headers.Get("Host")
	return request, nil
}

// tcpSocket is DoTCPProbe of pkg/probe/tcp/tcp.go.
func tcpSocket(wanted probe, timeout time.Duration) result {
	dial := dialer()
	dial.Timeout = timeout
	connection, err := dial.Dial("tcp", net.JoinHostPort(wanted.Host, strconv.Itoa(wanted.Port)))
	if err != nil {
		return result{"failure", err.Error()}
	}
	connection.Close()
	return result{"success", ""}
}

// serve returns 302 for /moved, 500 for /broken, 403 for /forbidden, 2 MB for /large, and its protocol for /protocol.
func serve(address, certificate, key string) {
	http.Handle("/moved", http.RedirectHandler("/protocol", http.StatusFound))
	for path, code := range map[string]int{"/broken": 500, "/forbidden": 403} {
		http.HandleFunc(path, func(response http.ResponseWriter, _ *http.Request) { response.WriteHeader(code) })
	}
	http.HandleFunc("/large", func(response http.ResponseWriter, _ *http.Request) {
		io.WriteString(response, strings.Repeat("a", 2_000_000))
	})
	http.HandleFunc("/protocol", func(response http.ResponseWriter, request *http.Request) {
		io.WriteString(response, request.Proto)
	})
	fail(http.ListenAndServeTLS(address, certificate, key, nil))
}
