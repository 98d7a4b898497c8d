// Package verbs promises libibverbs and librdmacm as Go functions, one per verb, and
// nothing else: whoever knows the manual page knows the function.
//
//	GetDeviceList ─▶ Device ─ Open ─▶ Context ─ AllocPD ──────────▶ PD ─ RegMR ────▶ MR
//	                                     │                           └── CreateQP ──▶ QP
//	                                     ├───── CreateCompChannel ─▶ CompChannel     │ ▲
//	                                     └───── CreateCQ ──────────▶ CQ ◀────────────┘ │
//	                                                                  │ Poll           │ PostSend, PostRecv
//	CreateEventChannel ─▶ EventChannel ─ CreateID ─▶ ConnID           ▼                │
//	                                              C memory:        WCList      SendList, RecvList
//
// It builds with the tag rdma, on Linux, with cgo and the packages libibverbs-dev and
// librdmacm-dev. Any other build has GetDeviceList and CreateEventChannel alone, which
// return ErrUnsupported with what is missing. At run time GetDeviceList lists
// the machine's devices.
//
// Rules:
//
//   - One crossing from Go to C per call, and one per list: PostSend, PostRecv and Poll
//     take whole lists. The lists lie in C memory that a handle allocates once; to
//     fill one and to read one costs no crossing and no allocation.
//   - C never calls Go and never keeps a Go pointer. Memory that a device touches is
//     named by its address, a uintptr: it must lie off the Go heap (mmap), and stay
//     mapped until its MR is closed. Cookies are numbers.
//   - Every handle is closed once, by whoever made it, children first: a second Close
//     returns an error that wraps ErrClosed, and so does any other call after it. Where
//     Close reports another error (EBUSY: there are children), the handle is still open.
//   - Errors wrap the errno and name the verb: "ibv_reg_mr: cannot allocate memory".
//   - As in C, a verb may be called by any goroutine, but lists belong to one at a time,
//     and nobody calls what somebody closes meanwhile. ibv_destroy_cq, ibv_destroy_qp
//     and rdma_destroy_id wait until the events about that object are acknowledged.
//   - No call waits for the network. Those that wait for an event (CompChannel.GetCQEvent,
//     Context.GetAsyncEvent, EventChannel.GetCMEvent) do so by the file descriptor that FD
//     or AsyncFD returns: non-blocking, it makes them return EAGAIN, and a poller tells when to
//     call again.
//
// It serves I10 (lists and queues have fixed sizes) and I11 (keys and rights are given to
// the device as they are asked for, and to nobody else).
//
// Limits: reliable connected queue pairs; SEND and RDMA WRITE with and without
// immediate. Not bound, because nothing here uses them: shared receive queues, datagrams,
// READ and atomics, memory windows, the extended (ibv_wr_*) posting. ibv_fork_init is not
// called: os/exec starts processes without a copy of the address space.
//
// It chooses nothing, retries nothing, starts no goroutine, logs nothing: package rdma
// does what of that there is to do.
package verbs
