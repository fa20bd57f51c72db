"""The methods by which features and RDMs become records of other packages, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import pandas, rsatoolbox, xarray
from .plain import Plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray
    from pandas import DataFrame
    from rsatoolbox.data.dataset import Dataset
    from rsatoolbox.rdm.rdms import RDMs
    from typing_extensions import Self
    from xarray import DataArray


class FeaturesInterop:
    """What `Features` can be turned into."""

    if TYPE_CHECKING:
        array: Any
        ids: tuple[str, ...]
        module: str
        axes: tuple[str, ...]
        targets: Any
        provenance: Mapping[str, Any]

        def __init__(self, *fields: Any) -> None: ...

    def _plain(self) -> Plain:
        return Plain(self.array, self.ids, self.module, self.axes, self.targets, self.provenance)

    def to_xarray(self) -> DataArray:
        """Make an array of xarray, labelled as in Brain-Score.

        Returns
        -------
        xarray.DataArray, shape (n_stimuli, n_features)
            Dimensions ``presentation`` and ``neuroid``. Coordinates of presentations:
            ``stimulus_id``, ``stimulus_path`` (the same, as Brain-Score has it), and ``target``
            where classes are known. Of neuroids: ``neuroid_id``, ``module``, ``layer`` (the
            same), ``model``, and the position in each axis of the activation, by the name of the
            axis. Attributes, as JSON: ``provenance``, and ``features``, the axes
            and shape of the module. The numbers are those of the features where these are in
            memory, not a copy; features in a file are read once.

        Raises
        ------
        MissingPackage
            If xarray is not installed.

        Examples
        --------
        >>> import numpy as np
        >>> from thingsvision import Features
        >>> features = Features(np.eye(2), ids=("a.jpg", "b.jpg"), module="fc")
        >>> array = features.to_xarray()
        >>> array.dims, array.neuroid_id.values.tolist()
        (('presentation', 'neuroid'), ['fc.0', 'fc.1'])
        """
        return xarray.to_xarray([self._plain()])

    @classmethod
    def from_xarray(cls, array: DataArray, ids: str = "stimulus_id") -> Self:
        """Make features of an array of xarray: of `to_xarray`, or as Brain-Score has them.

        Parameters
        ----------
        array : xarray.DataArray, shape (n_stimuli, n_features)
            Dimensions in any order.
        ids : str
            Coordinate, or level of an index, that holds the id of each presentation.

        Returns
        -------
        Features
            As they were, if all neuroids of an array made by `to_xarray` are there, in any
            order; else flat, with axes ``("stimulus", "feature")``.

        Raises
        ------
        InvalidArgument
            If there is no such coordinate, the array has more than two dimensions, or its
            neuroids are of several modules (see `FeatureSet.from_xarray`).

        Examples
        --------
        >>> import numpy as np
        >>> from thingsvision import Features
        >>> features = Features(np.ones((2, 3, 4)), ("a.jpg", "b.jpg"), "conv")
        >>> array = features.to_xarray()
        >>> Features.from_xarray(array)
        Features('conv', 2 × 3 × 4, float64)
        >>> Features.from_xarray(array[:, :5])
        Features('conv', 2 × 5, float64)
        """
        return cls(*xarray.one_module(xarray.from_xarray(array, ids)))

    def to_rsatoolbox(self) -> Dataset:
        """Make a dataset of rsatoolbox.

        Returns
        -------
        rsatoolbox.data.Dataset
            Measurements as float64, shape (n_stimuli, n_features). Descriptors of
            observations: ``conds``, the ids, and ``target`` where classes are known. Of
            channels: the position in each axis of the activation, by the name of the axis. Of
            the dataset: ``name``, ``model``, ``module``, and, as JSON, ``provenance`` and
            ``features``, the axes and shape.

        Raises
        ------
        MissingPackage
            If rsatoolbox is not installed.

        Notes
        -----
        ``rsatoolbox.rdm.calc_rdm(dataset, method="euclidean")`` gives
        ``sum((x - y)²) / n_features``; ``compute_rdm(features, "euclidean")`` gives
        ``sqrt(sum((x - y)²))``. Correlation is the same in both.

        Examples
        --------
        >>> import numpy as np
        >>> from thingsvision import Features
        >>> features = Features(np.eye(2), ids=("a.jpg", "b.jpg"), module="fc")
        >>> features.to_rsatoolbox().obs_descriptors
        {'conds': ['a.jpg', 'b.jpg']}
        """
        return rsatoolbox.to_dataset(self._plain())

    @classmethod
    def from_rsatoolbox(cls, dataset: Dataset, ids: str | None = None) -> Self:
        """Make features of a dataset of rsatoolbox.

        Parameters
        ----------
        dataset : rsatoolbox.data.Dataset
            Of `to_rsatoolbox`, or another one.
        ids : str, optional
            The ``obs_descriptor`` that names the stimuli. By default the first there is of
            ``conds``, ``stimulus_id``, ``stimulus``, ``stimuli`` and ``images``.

        Returns
        -------
        Features
            In the shape they had, if all channels of `to_rsatoolbox` are there; else flat.

        Raises
        ------
        InvalidArgument
            If there is no such descriptor; those that there are are named.

        Examples
        --------
        >>> import numpy as np
        >>> from thingsvision import Features
        >>> features = Features(np.ones((2, 3, 4)), ("a.jpg", "b.jpg"), "conv")
        >>> Features.from_rsatoolbox(features.to_rsatoolbox())
        Features('conv', 2 × 3 × 4, float64)
        """
        return cls(*rsatoolbox.from_dataset(dataset, ids))

    def to_pandas(self) -> DataFrame:
        """Make a table with one row a stimulus, as the formats csv and parquet have it.

        Returns
        -------
        pandas.DataFrame
            Index ``id``; columns ``f0``, ``f1``, …, in C order of the axes; before them
            ``target``, where classes are known. ``attrs`` hold, as JSON, ``provenance`` and
            ``features``, the axes and shape.

        Examples
        --------
        >>> import numpy as np
        >>> from thingsvision import Features
        >>> frame = Features(np.eye(2), ids=("a.jpg", "b.jpg"), module="fc").to_pandas()
        >>> frame.columns.tolist(), frame.loc["b.jpg"].tolist()
        (['f0', 'f1'], [0.0, 1.0])
        """
        return pandas.to_pandas(self._plain())

    @classmethod
    def from_pandas(cls, frame: DataFrame) -> Self:
        """Make features of a table with one row a stimulus.

        Parameters
        ----------
        frame : pandas.DataFrame
            The ids are its index, or a column ``id``. A column ``target`` of integers are the
            classes, one called ``class`` is left out, and all others are features.

        Returns
        -------
        Features
            In the shape they had, if all columns of `to_pandas` are there; else flat.

        Raises
        ------
        InvalidArgument
            If rows have no ids, or columns hold no numbers; these are named.

        Examples
        --------
        >>> import pandas as pd
        >>> from thingsvision import Features
        >>> Features.from_pandas(pd.DataFrame({"size": [1.5, 2.5]}, index=["a.jpg", "b.jpg"]))
        Features('', 2 × 1, float64)
        """
        return cls(*pandas.from_pandas(frame))


class FeatureSetInterop:
    """What a `FeatureSet` can be turned into."""

    if TYPE_CHECKING:
        _member: Callable[..., Any]

        def __init__(self, features: Mapping[str, Any]) -> None: ...

    def to_xarray(self: Any) -> DataArray:
        """Make one array of the features of all modules, side by side, as Brain-Score does.

        Returns
        -------
        xarray.DataArray, shape (n_stimuli, n_features of all modules)
            As of `Features.to_xarray`; the coordinate ``module`` says of which module a neuroid
            is. Positions are -1 in axes that a module lacks. One type of numbers for all.

        Raises
        ------
        MismatchError
            If the modules' stimuli are not the same, in the same order.

        Examples
        --------
        >>> import numpy as np
        >>> from thingsvision import Features, FeatureSet
        >>> ids = ("a.jpg", "b.jpg")
        >>> conv, fc = Features(np.ones((2, 3, 4)), ids, "conv"), Features(np.eye(2), ids, "fc")
        >>> array = FeatureSet({"conv": conv, "fc": fc}).to_xarray()
        >>> array.shape
        (2, 14)
        >>> FeatureSet.from_xarray(array)
        FeatureSet(2 stimuli; conv: 2 × 3 × 4, fc: 2 × 2)
        """
        return xarray.to_xarray(
            [each._plain()._replace(module=module) for module, each in self.items()]
        )

    @classmethod
    def from_xarray(cls, array: DataArray, ids: str = "stimulus_id") -> Self:
        """Make features of each module of an array; see `Features.from_xarray`.

        Parameters
        ----------
        array : xarray.DataArray, shape (n_stimuli, n_features of all modules)
            With a coordinate ``module``, or ``layer``, of its neuroids.
        ids : str
            Coordinate, or level of an index, that holds the id of each presentation.

        Returns
        -------
        FeatureSet
            In the order in which the modules first appear.

        Raises
        ------
        InvalidArgument
            As of `Features.from_xarray`.
        """
        return cls({one.module: cls._member(*one) for one in xarray.from_xarray(array, ids)})


class RDMInterop:
    """What an `RDM` can be turned into."""

    if TYPE_CHECKING:
        dissimilarities: NDArray[Any]
        ids: tuple[str, ...] | None
        dissimilarity: str
        provenance: Mapping[str, Any]
        name: str

        def __init__(self, **fields: Any) -> None: ...
        def square(self) -> NDArray[Any]:  # noqa: D102
            ...

    def to_rsatoolbox(self) -> RDMs:
        """Make an RDMs object of rsatoolbox that holds this one RDM.

        Returns
        -------
        rsatoolbox.rdm.RDMs
            Pattern descriptor ``conds``, the ids; RDM descriptors ``name``, ``model``,
            ``module``, and ``provenance`` as JSON.
            The numbers are the same. ``dissimilarity_measure`` is the name of the dissimilarity;
            only our ``"euclidean"`` is called ``"euclidean (summed over channels)"``, since
            rsatoolbox divides by the number of channels and mostly does not take the root:
            its ``"squared euclidean"`` is our distance squared, divided by that number.

        Raises
        ------
        MissingPackage
            If rsatoolbox is not installed.

        Examples
        --------
        >>> import numpy as np
        >>> from thingsvision import RDM
        >>> rdm = RDM(np.array([0.1, 0.8, 0.9]), ("a.jpg", "b.jpg", "c.jpg"), "euclidean")
        >>> rdm.to_rsatoolbox().dissimilarity_measure
        'euclidean (summed over channels)'
        """
        return rsatoolbox.to_rdms(
            self.dissimilarities, self.ids, self.dissimilarity, self.provenance, self.name
        )

    @classmethod
    def from_rsatoolbox(
        cls, rdms: RDMs, index: int | None = None, ids: str | None = None
    ) -> Self | list[Self]:
        """Make RDMs of an RDMs object of rsatoolbox.

        Parameters
        ----------
        rdms : rsatoolbox.rdm.RDMs
            Of one or several RDMs.
        index : int, optional
            Which one, from 0.
        ids : str, optional
            The ``pattern_descriptor`` that names the stimuli. By default the first there is of
            ``conds``, ``stimulus_id``, ``stimulus``, ``stimuli`` and ``images``; where there is
            none, the RDM has no ids.

        Returns
        -------
        RDM or list of RDM
            A list if there are several and none was chosen. The numbers are the same; a measure
            called ``"squared euclidean"`` there, which is divided by the number of channels, is
            ``"squared_euclidean (mean over channels)"`` here.

        Raises
        ------
        InvalidArgument
            If there is no such descriptor or RDM, or what it holds is no RDM (see `RDM`).

        Examples
        --------
        >>> import numpy as np
        >>> from thingsvision import RDM
        >>> rdm = RDM(np.array([0.1, 0.8, 0.9]), ("a.jpg", "b.jpg", "c.jpg"), "euclidean")
        >>> RDM.from_rsatoolbox(rdm.to_rsatoolbox())
        RDM(3 stimuli, euclidean, float64)
        """
        found = [cls(**one) for one in rsatoolbox.from_rdms(rdms, index, ids)]
        return found[0] if len(found) == 1 else found

    def to_pandas(self) -> DataFrame:
        """Make a square table with the ids as index and columns.

        Returns
        -------
        pandas.DataFrame, shape (n_stimuli, n_stimuli)
            Numbered from 0 where the RDM has no ids.
            ``RDM.from_matrix(frame, ids=frame.index)`` is the way back.

        Examples
        --------
        >>> import numpy as np
        >>> from thingsvision import RDM
        >>> RDM(np.array([0.5]), ("a.jpg", "b.jpg")).to_pandas()
               a.jpg  b.jpg
        a.jpg    0.0    0.5
        b.jpg    0.5    0.0
        """
        return pandas.square_table(self.square(), self.ids)
