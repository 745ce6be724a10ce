//! Tensor maps as the hardware reads them: 128 bytes that the driver makes of what a copy is told about its tensor. Nothing
//! is copied here.

use cudarc::driver::sys;
use pantile_gpu::{MAP_BYTES, Swizzle, TensorMap};

use super::{Context, Driven, call, check};

/// The words of an encoded map.
pub(crate) const MAP_WORDS: usize = MAP_BYTES / 8;

/// Encodes a map that [`TensorMap::check`] has let pass.
pub(crate) fn encode(context: &Context, map: &TensorMap) -> Driven<[u64; MAP_WORDS]> {
    use sys::{CUtensorMapDataType as Type, CUtensorMapSwizzle as Order};
    context.bind()?;
    let bits = match map.element {
        1 => Type::CU_TENSOR_MAP_DATA_TYPE_UINT8,
        2 => Type::CU_TENSOR_MAP_DATA_TYPE_UINT16,
        4 => Type::CU_TENSOR_MAP_DATA_TYPE_UINT32,
        _ => Type::CU_TENSOR_MAP_DATA_TYPE_UINT64,
    };
    let swizzle = match map.swizzle {
        Swizzle::None => Order::CU_TENSOR_MAP_SWIZZLE_NONE,
        Swizzle::Bytes32 => Order::CU_TENSOR_MAP_SWIZZLE_32B,
        Swizzle::Bytes64 => Order::CU_TENSOR_MAP_SWIZZLE_64B,
        Swizzle::Bytes128 => Order::CU_TENSOR_MAP_SWIZZLE_128B,
    };
    let rank = map.dims.len();
    let (plain, wide) = (
        sys::CUtensorMapInterleave::CU_TENSOR_MAP_INTERLEAVE_NONE,
        sys::CUtensorMapL2promotion::CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
    );
    let zeros = sys::CUtensorMapFloatOOBfill::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE;
    let (base, steps) = (std::ptr::without_provenance_mut(map.base as usize), [1; 5]);
    let mut encoded = sys::CUtensorMap { opaque: [0; MAP_WORDS] };
    // SAFETY: `encoded` is valid for writing and aligned as the driver's type is; each list has an entry a dimension, the
    // strides one less, as was checked; the address is not followed.
    unsafe {
        call!(cuTensorMapEncodeTiled(
            &raw mut encoded,
            bits,
            rank as u32,
            base,
            map.dims.as_ptr(),
            map.strides.as_ptr(),
            map.extents.as_ptr(),
            steps.as_ptr(),
            plain,
            swizzle,
            wide,
            zeros
        ))
    }?;
    Ok(encoded.opaque)
}
