package lambdatest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// extension is the id of every extension that registers.
const extension = "5fa1d2f2-6b1d-4c57-9c3a-3a2d8f7a9b10"

type invocation struct {
	id       string
	event    []byte
	deadline time.Time
	answer   chan answer // has room for one
}

type answer struct {
	payload []byte
	err     error
}

// runtimeAPI is what Lambda serves a function.
// https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html and runtimes-extensions-api.html
func (f *Function) runtimeAPI() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", f.next)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/response", func(w http.ResponseWriter, r *http.Request) {
		f.respond(w, r, func(body []byte) answer { return answer{payload: body} })
	})
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/error", func(w http.ResponseWriter, r *http.Request) {
		f.respond(w, r, func(body []byte) answer { return answer{err: reported(body)} })
	})
	mux.HandleFunc("POST /2018-06-01/runtime/init/error", f.failInit)
	mux.HandleFunc("POST /2020-01-01/extension/register", f.register)
	mux.HandleFunc("GET /2020-01-01/extension/event/next", func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done() // no extension here asks for events
	})
	return mux
}

func (f *Function) next(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.asked = true
	f.mu.Unlock()
	var i *invocation
	select {
	case i = <-f.events:
	case <-r.Context().Done():
		return
	}
	f.mu.Lock()
	f.number++
	i.id = fmt.Sprintf("00000000-0000-4000-8000-%012d", f.number)
	f.current = i
	f.mu.Unlock()
	w.Header().Set("Lambda-Runtime-Aws-Request-Id", i.id)
	w.Header().Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(i.deadline.UnixMilli(), 10))
	w.Header().Set("Lambda-Runtime-Invoked-Function-Arn", arn)
	_, _ = w.Write(i.event) // a function that does not read it has exited
}

func (f *Function) respond(w http.ResponseWriter, r *http.Request, read func([]byte) answer) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // it exited while it wrote
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.current == nil || f.current.id != r.PathValue("id") {
		http.Error(w, `{"errorType":"InvalidRequestID"}`, http.StatusBadRequest)
		return
	}
	if f.first == 0 {
		f.first = time.Since(f.started) //nolint:forbidigo // it measures
	}
	f.current.answer <- read(body)
	f.current = nil
	w.WriteHeader(http.StatusAccepted)
}

func (f *Function) failInit(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.initError = reported(body)
	w.WriteHeader(http.StatusAccepted)
}

func (f *Function) register(w http.ResponseWriter, _ *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.registered = true
	w.Header().Set("Lambda-Extension-Identifier", extension)
}

func reported(body []byte) *Error {
	e := new(Error)
	if err := json.Unmarshal(body, e); err != nil {
		return &Error{Type: "unreadable", Message: string(body)}
	}
	return e
}
