package rdma

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"
	"unsafe"
)

// objects is what one link has of the device, and its memory:
//
//	ring   the peer writes here, by a key that is this link's alone
//	own    ┌ notices in ┬ notices out ┬ stage ┐  nobody writes here but the device, by receives
//	lent   the host's regions, to send from
type objects struct {
	domain    Domain
	queue     CompletionQueue
	pair      QueuePair
	ring, own []byte
	ringArea  Region
	ownRegion Region
	lent      []lentRegion
	lost      []func() // lent parts of a frame that failed half-way

	entries  int // of each queue
	sendsMax int
	partsMax int
	inline   int
	stageAt  int // in own
}

type lentRegion struct {
	region Region
	lo, hi uintptr
}

// openObjects makes all of it, with the receives posted, or nothing.
func openObjects(t *Transport, device Device, regions [][]byte) (o *objects, err error) {
	caps := device.Capabilities()
	o = &objects{}
	o.entries = min(t.o.Queue, caps.ReceivesMax, caps.SendsMax, caps.CompleteMax/2)
	if o.entries < receivesMin {
		return nil, fmt.Errorf("device %s has %d queue entries, %d are needed: %w", caps.Device, o.entries, receivesMin,
			ErrUnsupported)
	}
	o.sendsMax, o.partsMax = o.entries, min(partsWanted, caps.PartsMax)
	defer func() {
		if err != nil {
			o.close()
			UnmapMemory(o.ring)
			o = nil
		}
	}()
	if o.domain, err = device.OpenDomain(); err != nil {
		return o, err
	}
	if err = o.register(t, regions); err != nil {
		return o, err
	}
	if o.queue, err = device.OpenCompletionQueue(2 * o.entries); err != nil {
		return o, err
	}
	var psn [4]byte
	_, _ = rand.Read(psn[:]) // never fails
	o.pair, err = o.domain.OpenQueuePair(QueuePairOptions{
		Completions: o.queue, SendsMax: o.sendsMax, ReceivesMax: o.entries, PartsMax: o.partsMax,
		InlineBytes: min(inlineBytesWanted, caps.InlineMax), PSN: binary.LittleEndian.Uint32(psn[:]) >> 8,
		AckTimeout: t.o.AckTimeout, Retries: t.o.Retries, RNRTimer: t.o.RNRTimer, RNRRetries: t.o.RNRRetries,
	})
	if err != nil {
		return o, err
	}
	o.inline = o.pair.Inline()
	return o, nil
}

// register takes ring and stage of the wanted sizes, or of the largest that can be
// pinned, and the host's regions as far as they can.
func (o *objects) register(t *Transport, regions [][]byte) error {
	o.stageAt = (2*o.entries*noticeBytes + ringAlign - 1) &^ (ringAlign - 1)
	var err error
	o.own, o.ownRegion, err = fit(o.domain, t.o.StageBytes, stageBytesMin, o.stageAt, LocalWrite)
	if err != nil {
		return fmt.Errorf("stage: %w", err)
	}
	o.ring, o.ringArea, err = fit(o.domain, t.o.RingBytes, ringBytesMin, 0, LocalWrite|RemoteWrite)
	if err != nil {
		return fmt.Errorf("ring: %w", err)
	}
	missing := t.o.RingBytes - len(o.ring) + t.o.StageBytes + o.stageAt - len(o.own)
	for _, memory := range regions {
		if len(memory) == 0 {
			continue
		}
		region, err := o.domain.Register(memory, 0)
		if errors.Is(err, syscall.ENOMEM) {
			missing += len(memory)
			continue
		}
		if err != nil {
			return fmt.Errorf("region of %d bytes: %w", len(memory), err)
		}
		// Unsafe rule 2 (Pointer to uintptr, not back): addresses are only compared.
		lo := uintptr(unsafe.Pointer(unsafe.SliceData(memory)))
		o.lent = append(o.lent, lentRegion{region, lo, lo + uintptr(len(memory))})
	}
	t.counts.unpinned.Store(uint64(missing))
	return nil
}

// fit maps and registers extra bytes and as much of want as can be pinned, halving
// it down to least.
func fit(d Domain, want, least, extra int, access Access) ([]byte, Region, error) {
	for size := want; ; size = max(least, size/2&^(ringAlign-1)) {
		memory, err := MapMemory(extra + size)
		if err != nil {
			return nil, nil, err
		}
		region, err := d.Register(memory, access)
		if err == nil {
			return memory, region, nil
		}
		UnmapMemory(memory)
		if !errors.Is(err, syscall.ENOMEM) {
			return nil, nil, err
		}
		if size == least {
			return nil, nil, fmt.Errorf("not even %d bytes can be pinned, %d were wanted "+
				"(raise RLIMIT_MEMLOCK, or give CAP_IPC_LOCK): %w", extra+size, extra+want, err)
		}
	}
}

// close gives everything back but the ring's memory, which frames may lie in. What
// was never opened is skipped.
func (o *objects) close() {
	if o.pair != nil {
		_ = o.pair.Close() // this and all below: gone in any case
	}
	if o.ringArea != nil {
		_ = o.ringArea.Close()
	}
	if o.ownRegion != nil {
		_ = o.ownRegion.Close()
	}
	for _, l := range o.lent {
		_ = l.region.Close()
	}
	if o.queue != nil {
		_ = o.queue.Close()
	}
	if o.domain != nil {
		_ = o.domain.Close()
	}
	UnmapMemory(o.own)
	o.own = nil
	for _, release := range o.lost {
		release()
	}
}

// offer is what the peer must know of it.
func (o *objects) offer(link [16]byte, immediate bool) offer {
	return offer{
		Link: link, Identity: o.pair.Identity(), Immediate: immediate, RingAddress: o.ringArea.Address(),
		RingKey: o.ringArea.RemoteKey(), RingBytes: uint32(len(o.ring)), Receives: uint32(o.entries),
	}
}
