package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/zeebo/xxh3"
)

const (
	jsSubject   = "bench"
	jsStream    = "SOURCE"
	jsMirror    = "MIRROR"
	jsSender    = "sender" // domains
	jsReceiver  = "receiver"
	jsReady     = 20 * time.Second
	jsPollEvery = time.Millisecond
)

// jsServer is one in-process server and a connection to it.
type jsServer struct {
	server *server.Server
	conn   *nats.Conn
}

// startJS runs a server; the receiver's takes leaf connections, the sender's
// makes one. Nothing is compressed: the records are random.
func startJS(s *spec, domain string) (*jsServer, error) {
	o := &server.Options{
		ServerName: domain, Host: "127.0.0.1", DontListen: true, NoSigs: true, NoLog: true,
		JetStream: true, JetStreamDomain: domain, StoreDir: filepath.Join(s.Dir, domain),
		JetStreamMaxMemory: 64 << 20, JetStreamMaxStore: 64 << 30,
		MaxPayload: grpcMessageBytes, MaxPending: 256 << 20, SyncAlways: s.Durable,
	}
	o.LeafNode.Compression.Mode = server.CompressionOff
	if domain == jsReceiver {
		o.LeafNode.Host, o.LeafNode.Port = "127.0.0.1", server.RANDOM_PORT
	} else {
		remote := &server.RemoteLeafOpts{URLs: []*url.URL{{Scheme: "nats-leaf", Host: s.Addr}}}
		remote.Compression.Mode = server.CompressionOff
		o.LeafNode.Remotes = []*server.RemoteLeafOpts{remote}
	}
	srv, err := server.NewServer(o)
	if err != nil {
		return nil, err
	}
	srv.Start()
	if !srv.ReadyForConnections(jsReady) {
		srv.Shutdown()
		return nil, fmt.Errorf("nats-server is not ready after %v", jsReady)
	}
	conn, err := nats.Connect("", nats.InProcessServer(srv))
	if err != nil {
		srv.Shutdown()
		return nil, err
	}
	return &jsServer{srv, conn}, nil
}

func (j *jsServer) close() error {
	j.conn.Close()
	j.server.Shutdown()
	j.server.WaitForShutdown()
	return nil
}

type jsReceiverEnd struct {
	*jsServer
	port int
}

func receiveJetStream(_ context.Context, s *spec) (receiver, error) {
	j, err := startJS(s, jsReceiver)
	if err != nil {
		return nil, err
	}
	v, err := j.server.Varz(nil)
	if err != nil {
		return nil, errors.Join(err, j.close())
	}
	return &jsReceiverEnd{j, v.LeafNode.Port}, nil
}

func (r *jsReceiverEnd) addr() string { return fmt.Sprintf("127.0.0.1:%d", r.port) }

// records is the mirror's last sequence, asked from its own server.
func (r *jsReceiverEnd) records() (uint64, error) {
	js, err := jetstream.New(r.conn)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), jsReady)
	defer cancel()
	last, err := jsLast(ctx, js)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return 0, nil
	}
	return last, err
}

func jsLast(ctx context.Context, js jetstream.JetStream) (uint64, error) {
	stream, err := js.Stream(ctx, jsMirror)
	if err != nil {
		return 0, err
	}
	return stream.CachedInfo().State.LastSeq, nil
}

type jsSenderEnd struct {
	*jsServer
	ctx    context.Context
	here   jetstream.JetStream
	there  jetstream.JetStream
	marks  *watermark
	failed chan error
}

func sendJetStream(ctx context.Context, s *spec) (sender, error) {
	j, err := startJS(s, jsSender)
	if err != nil {
		return nil, err
	}
	n := &jsSenderEnd{jsServer: j, ctx: ctx, marks: newWatermark(), failed: make(chan error, 1)}
	if err := n.open(s); err != nil {
		return nil, errors.Join(err, j.close())
	}
	return n, nil
}

// open makes the stream here and its mirror there, as soon as the leaf
// connection carries requests.
func (n *jsSenderEnd) open(s *spec) (err error) {
	n.here, err = jetstream.New(n.conn, jetstream.WithPublishAsyncMaxPending(int(s.window())),
		jetstream.WithPublishAsyncErrHandler(func(_ jetstream.JetStream, _ *nats.Msg, err error) {
			select {
			case n.failed <- err:
			default:
			}
		}))
	if err != nil {
		return err
	}
	if n.there, err = jetstream.NewWithDomain(n.conn, jsReceiver); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(n.ctx, jsReady)
	defer cancel()
	_, err = n.here.CreateStream(ctx, jetstream.StreamConfig{
		Name: jsStream, Subjects: []string{jsSubject}, Storage: jetstream.FileStorage,
	})
	if err != nil {
		return err
	}
	mirror := jetstream.StreamConfig{
		Name: jsMirror, Storage: jetstream.FileStorage,
		Mirror: &jetstream.StreamSource{Name: jsStream, Domain: jsSender},
	}
	for {
		try, done := context.WithTimeout(ctx, time.Second)
		_, err = n.there.CreateStream(try, mirror)
		done()
		if err == nil || ctx.Err() != nil {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// put publishes; the client's own limit of pending messages is the window.
func (n *jsSenderEnd) put(record []byte) error {
	data := make([]byte, len(record)+16)
	digest := xxh3.Hash128(record).Bytes()
	copy(data[copy(data, record):], digest[:])
	_, err := n.here.PublishAsync(jsSubject, data, jetstream.WithStallWait(jsReady))
	if err != nil {
		return err
	}
	n.marks.raise(n.marks.load() + 1)
	return nil
}

func (n *jsSenderEnd) flush() error { return nil }

func (n *jsSenderEnd) answered() *watermark { return n.marks }

// drain waits until the mirror has the last record.
func (n *jsSenderEnd) drain(sent uint64) error {
	select {
	case <-n.here.PublishAsyncComplete():
	case err := <-n.failed:
		return err
	case <-n.ctx.Done():
		return n.ctx.Err()
	}
	for {
		last, err := jsLast(n.ctx, n.there)
		if err != nil {
			return err
		}
		if last >= sent {
			return nil
		}
		time.Sleep(jsPollEvery)
	}
}
