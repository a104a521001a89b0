"""Fill in missing pixels from those around them."""

import numpy as np

# (rows, columns) to each of a pixel's neighbours -> its weight; the weights add up to 1.
_NEIGHBOURS = {
    (down, across): 1 / 6 if 0 in (down, across) else 1 / 12
    for down in (-1, 0, 1)
    for across in (-1, 0, 1)
    if (down, across) != (0, 0)
}


def impute(values: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """Fill in removed pixels so that each is the weighted mean of its eight neighbours.

    The noisy linear imputation of Rong et al., ICML 2022 (arXiv 2202.00449), section 5.1, without
    its noise: a sparse system of linear equations, one for each removed pixel. Where every pixel
    is removed, all become the mean colour.

    Args:
        values: (h, w, c) float or uint8.
        removed: (h, w) bool, True where to fill in.

    Returns:
        (h, w, c) float64.
    """
    from scipy import sparse  # slow to import, and only needed here

    filled = values.astype(np.float64)
    if removed.all():
        filled[:] = filled.mean((0, 1))
    rows, columns = np.nonzero(removed)
    count = len(rows)
    if removed.all() or not count:
        return filled
    number = np.full(removed.shape, -1)  # of each removed pixel's equation
    number[removed] = np.arange(count)
    total, known = np.zeros(count), np.zeros((count, values.shape[2]))
    equations, unknowns, weights = [np.arange(count)], [np.arange(count)], [total]
    for (down, across), weight in _NEIGHBOURS.items():
        row, column = rows + down, columns + across
        inside = (row >= 0) & (row < removed.shape[0]) & (column >= 0) & (column < removed.shape[1])
        each = np.flatnonzero(inside)
        total[each] += weight
        neighbour = number[row[each], column[each]]
        kept = each[neighbour < 0]
        known[kept] += weight * filled[row[kept], column[kept]]
        equations.append(each[neighbour >= 0])
        unknowns.append(neighbour[neighbour >= 0])
        weights.append(np.full(len(unknowns[-1]), -weight))
    system = sparse.csc_array(
        (np.concatenate(weights), (np.concatenate(equations), np.concatenate(unknowns))),
        shape=(count, count),
    )
    # The matrix is diagonally dominant, so no pivoting: it takes minutes for scattered holes.
    solver = sparse.linalg.splu(
        system,
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )
    filled[rows, columns] = solver.solve(known)
    return filled
