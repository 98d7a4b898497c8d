module github.com/claudefs/repl

go 1.26.0

// Each has one owner room. What stands here, every host's module graph gets.
require (
	github.com/pawelgaczynski/giouring v0.0.0-20230826085535-69588b89acb9 // uring, tag giouring only: comparison
	github.com/prometheus/client_golang v1.25.0 // observe: metrics; engine never imports it
	github.com/stretchr/testify v1.12.1 // tests: assertions
	github.com/zeebo/xxh3 v1.1.0 // wire, journal: digest and chain
	golang.org/x/sys v0.49.0 // vfs, tcp, uring, arena: system calls
	pgregory.net/rapid v1.3.0 // tests: properties against slow models
)

require (
	github.com/beorn7/perks v1.0.1 // indirect
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/klauspost/cpuid/v2 v2.2.10 // indirect
	github.com/kylelemons/godebug v1.1.0 // indirect
	github.com/munnerz/goautoneg v0.0.0-20191010083416-a7dc8b61c822 // indirect
	github.com/prometheus/client_model v0.6.3 // indirect
	github.com/prometheus/common v0.72.0 // indirect
	github.com/prometheus/procfs v0.22.0 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)
