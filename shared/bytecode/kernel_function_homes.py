# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which kernel functions (kfuncs) are in the kernel's image wherever they are at all.

Others may be in a module, as those of connection tracking (nf_conntrack) and xfrm are on most
distributions, or in one that is nobody's but its owner's: that the image does not have them says
nothing.  Taken from the sources of Linux 6.18 (kernel/bpf, net/core).
"""

from __future__ import annotations

from typing import Final

_LIST: Final = """
arena_alloc_pages arena_free_pages arena_reserve_pages cast_to_kern_ctx cgroup_acquire
cgroup_ancestor cgroup_from_id cgroup_release copy_from_user_dynptr copy_from_user_str
copy_from_user_str_dynptr copy_from_user_task_dynptr copy_from_user_task_str
copy_from_user_task_str_dynptr cpumask_acquire cpumask_and cpumask_any_and_distribute
cpumask_any_distribute cpumask_clear cpumask_clear_cpu cpumask_copy cpumask_create cpumask_empty
cpumask_equal cpumask_first cpumask_first_and cpumask_first_zero cpumask_full cpumask_intersects
cpumask_or cpumask_populate cpumask_release cpumask_set_cpu cpumask_setall cpumask_subset
cpumask_weight cpumask_xor dynptr_adjust dynptr_clone dynptr_copy dynptr_from_skb
dynptr_from_skb_meta dynptr_from_xdp dynptr_is_null dynptr_is_rdonly dynptr_memset dynptr_size
dynptr_slice dynptr_slice_rdwr get_kmem_cache get_task_exe_file iter_bits_destroy iter_bits_new
iter_bits_next iter_css_destroy iter_css_new iter_css_next iter_css_task_destroy
iter_css_task_new iter_css_task_next iter_kmem_cache_destroy iter_kmem_cache_new
iter_kmem_cache_next iter_num_destroy iter_num_new iter_num_next iter_task_destroy iter_task_new
iter_task_next iter_task_vma_destroy iter_task_vma_new iter_task_vma_next list_back list_front
list_pop_back list_pop_front list_push_back_impl list_push_front_impl local_irq_restore
local_irq_save map_sum_elem_count obj_drop_impl obj_new_impl path_d_path percpu_obj_drop_impl
percpu_obj_new_impl preempt_disable preempt_enable probe_read_kernel_dynptr
probe_read_kernel_str_dynptr probe_read_user_dynptr probe_read_user_str_dynptr put_file
rbtree_add_impl rbtree_first rbtree_left rbtree_remove rbtree_right rbtree_root rcu_read_lock
rcu_read_unlock rdonly_cast refcount_acquire_impl res_spin_lock res_spin_lock_irqsave
res_spin_unlock res_spin_unlock_irqrestore send_signal_task sk_assign_tcp_reqsk
sock_addr_set_sun_path sock_ops_enable_tx_tstamp strcasecmp strchr strchrnul strcmp strcspn
strlen strnchr strnlen strnstr strrchr strspn strstr task_acquire task_from_pid task_from_vpid
task_get_cgroup1 task_release task_under_cgroup throw wq_init wq_set_callback_impl wq_start
xdp_metadata_rx_hash xdp_metadata_rx_timestamp xdp_metadata_rx_vlan_tag xdp_pull_data
"""
_NAMES: Final = frozenset(f"bpf_{name}" for name in _LIST.split())


def is_never_in_a_module(name: str) -> bool:
    """Whether a kernel whose image lacks the function has it nowhere.

    >>> is_never_in_a_module("bpf_rcu_read_lock"), is_never_in_a_module("bpf_xdp_ct_lookup")
    (True, False)
    """
    return name in _NAMES
