//go:build rdma && linux && cgo

#include "verbs.h"

#include <errno.h>
#include <stdlib.h>

struct ibv_device **cfs_get_device_list(int *count)
{
	return ibv_get_device_list(count);
}

int cfs_query_port(struct ibv_context *context, uint8_t port, struct ibv_port_attr *attr)
{
	return ibv_query_port(context, port, attr);
}

int cfs_query_gid_ex(struct ibv_context *context, uint32_t port, uint32_t index, struct ibv_gid_entry *entry)
{
	return ibv_query_gid_ex(context, port, index, entry, 0);
}

struct ibv_mr *cfs_reg_mr(struct ibv_pd *pd, uintptr_t address, size_t bytes, int access)
{
	return ibv_reg_mr(pd, (void *)address, bytes, access);
}

struct ibv_cq *cfs_create_cq(struct ibv_context *context, int entries, uintptr_t cookie,
			     struct ibv_comp_channel *channel, int vector)
{
	return ibv_create_cq(context, entries, (void *)cookie, channel, vector);
}

int cfs_get_cq_event(struct ibv_comp_channel *channel, uintptr_t *cookie)
{
	struct ibv_cq *cq;
	void *context;
	int result = ibv_get_cq_event(channel, &cq, &context);

	if (result == 0)
		*cookie = (uintptr_t)context;
	return result;
}

int cfs_req_notify_cq(struct ibv_cq *cq, int solicited_only)
{
	return ibv_req_notify_cq(cq, solicited_only);
}

int cfs_poll_cq(struct ibv_cq *cq, int count, struct ibv_wc *wc)
{
	return ibv_poll_cq(cq, count, wc);
}

// Drivers return errno, most of them; some -errno, some -1 with errno set.
static int positive(int error)
{
	if (error == -1)
		return errno ? errno : EINVAL;
	return error < 0 ? -error : error;
}

struct cfs_posted cfs_post_send(struct ibv_qp *qp, struct ibv_send_wr *list, int count)
{
	struct ibv_send_wr *bad = NULL, *last = &list[count - 1], *next = last->next;
	struct cfs_posted posted = {.count = count};

	last->next = NULL;
	posted.error = positive(ibv_post_send(qp, list, &bad));
	last->next = next;
	if (posted.error)
		posted.count = bad ? bad - list : 0;
	return posted;
}

struct cfs_posted cfs_post_recv(struct ibv_qp *qp, struct ibv_recv_wr *list, int count)
{
	struct ibv_recv_wr *bad = NULL, *last = &list[count - 1], *next = last->next;
	struct cfs_posted posted = {.count = count};

	last->next = NULL;
	posted.error = positive(ibv_post_recv(qp, list, &bad));
	last->next = next;
	if (posted.error)
		posted.count = bad ? bad - list : 0;
	return posted;
}

struct ibv_send_wr *cfs_alloc_sends(int entries, int parts, struct ibv_sge **sges)
{
	struct ibv_send_wr *list = calloc(entries, sizeof(*list));
	struct ibv_sge *all = calloc((size_t)entries * parts, sizeof(*all));

	if (!list || !all) {
		free(list);
		free(all);
		errno = ENOMEM;
		return NULL;
	}
	for (int i = 0; i < entries; i++) {
		list[i].next = i + 1 < entries ? &list[i + 1] : NULL;
		list[i].sg_list = &all[(size_t)i * parts];
	}
	*sges = all;
	return list;
}

struct ibv_recv_wr *cfs_alloc_recvs(int entries, int parts, struct ibv_sge **sges)
{
	struct ibv_recv_wr *list = calloc(entries, sizeof(*list));
	struct ibv_sge *all = calloc((size_t)entries * parts, sizeof(*all));

	if (!list || !all) {
		free(list);
		free(all);
		errno = ENOMEM;
		return NULL;
	}
	for (int i = 0; i < entries; i++) {
		list[i].next = i + 1 < entries ? &list[i + 1] : NULL;
		list[i].sg_list = &all[(size_t)i * parts];
	}
	*sges = all;
	return list;
}

int cfs_create_id(struct rdma_event_channel *channel, struct rdma_cm_id **id, uintptr_t cookie)
{
	return rdma_create_id(channel, id, (void *)cookie, RDMA_PS_TCP);
}

int cfs_connect(struct rdma_cm_id *id, const struct rdma_conn_param *param, const void *data)
{
	struct rdma_conn_param with = *param;

	with.private_data = data;
	return rdma_connect(id, &with);
}

int cfs_accept(struct rdma_cm_id *id, const struct rdma_conn_param *param, const void *data)
{
	struct rdma_conn_param with = *param;

	with.private_data = data;
	return rdma_accept(id, &with);
}
