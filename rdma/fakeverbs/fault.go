package fakeverbs

import "github.com/claudefs/repl/rdma"

// Call names what a Fault waits for.
type Call string

const (
	CallOpen            Call = "open device"
	CallOpenDomain      Call = "open domain"
	CallRegister        Call = "register"
	CallCompletionQueue Call = "open completion queue"
	CallQueuePair       Call = "open queue pair"
	CallReadyToReceive  Call = "ready to receive"
	CallReadyToSend     Call = "ready to send"
	CallPostSends       Call = "post sends"
	CallPostReceives    Call = "post receives"
	CallArm             Call = "arm"
	CallExecute         Call = "execute" // one entry of a send queue, on the wire
)

// Fault is one scripted failure: the Nth call of this kind from Fail on, counted
// from 1, fails; the call before and after do not.
type Fault struct {
	Call Call
	Nth  int
	// Err is what the call returns; not for CallExecute.
	Err error
	// Status is how the entry completes, with its queue pair in ERR. CallExecute only.
	Status rdma.Status
	// Executed: the peer got the entry all the same, as when an answer is lost.
	Executed bool
}

// Fail adds a fault to the script.
func (f *Fabric) Fail(fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = append(f.faults, &fault)
}

// due counts a call, and returns the fault that it meets. f.mu is held.
func (f *Fabric) due(call Call) *Fault {
	for i, fault := range f.faults {
		if fault.Call != call {
			continue
		}
		if fault.Nth--; fault.Nth <= 0 {
			f.faults = append(f.faults[:i:i], f.faults[i+1:]...)
			return fault
		}
	}
	return nil
}

func (f *Fabric) fault(call Call) error {
	if fault := f.due(call); fault != nil {
		return fault.Err
	}
	return nil
}
