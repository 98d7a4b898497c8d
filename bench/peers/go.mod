module github.com/claudefs/repl/bench/peers

go 1.26.0

require (
	github.com/HdrHistogram/hdrhistogram-go v1.4.0 // latencies
	github.com/nats-io/nats-server/v2 v2.15.2 // contender: JetStream, in process
	github.com/nats-io/nats.go v1.55.0 // contender: its client
	github.com/stretchr/testify v1.12.1 // tests: assertions
	github.com/zeebo/xxh3 v1.1.0 // the digest of contenders without one of their own
	golang.org/x/sys v0.49.0 // affinity, socket options, counters of a process
	google.golang.org/grpc v1.85.0 // contender
)

// Split in two since: named so that the workspace does not find its packages twice.
require google.golang.org/genproto v0.0.0-20261026165753-2ffab32bce7e // indirect

require (
	github.com/antithesishq/antithesis-sdk-go v0.8.0-default-no-op // indirect
	github.com/google/go-tpm v0.9.8 // indirect
	github.com/klauspost/compress v1.20.3 // indirect
	github.com/klauspost/cpuid/v2 v2.2.10 // indirect
	github.com/minio/highwayhash v1.0.4 // indirect
	github.com/nats-io/jwt/v2 v2.8.2 // indirect
	github.com/nats-io/nkeys v0.4.16 // indirect
	github.com/nats-io/nuid v1.0.1 // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/net v0.60.0 // indirect
	golang.org/x/text v0.43.0 // indirect
	golang.org/x/time v0.16.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20261019180522-ce908d29299b // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)
