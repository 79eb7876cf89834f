#!/usr/bin/env bash
# The runs behind the table of README.md, five folds each; what is finished is
# not run again. Then: python recipes/table.py results/emodb_table
#   recipes/EMODB/pooling_table.sh EMODB_FOLDER ENCODER [runs side by side]
set -euo pipefail
data=$1 encoder=$2 jobs=${3:-1}
cd "$(dirname "$0")/../.."
common="hparams/emodb.yaml --data_folder $data --encoder_hub $encoder --noprogressbar"
out=results/emodb_table
runs() {
    for fold in 1 2 3 4 5; do
        echo "floor.py $common --test_fold $fold --output_folder $out/logistic_regression/fold_$fold"
        for normalize in true false; do
            for system in mean:0.0 mean_std:0.0 corr:0.0 corr:0.25 attentive_corr:0.25; do
                # Until dev accuracy has stopped rising: raw layers, above all
                # without correlations, need more updates.
                case $normalize-$system in
                    true-*) epochs=30 ;;
                    false-mean*) epochs=70 ;;
                    *) epochs=40 ;;
                esac
                for smoothing in 0.0 0.1; do
                    echo "train.py $common --test_fold $fold" \
                        "--pooling ${system%:*} --channel_dropout ${system#*:}" \
                        "--label_smoothing $smoothing" \
                        "--normalize_layers $normalize" \
                        "--number_of_epochs $epochs" \
                        "--output_folder $out/normalize_$normalize/${system%:*}-pd_${system#*:}-smoothing_$smoothing/fold_$fold"
                done
            done
        done
    done
}
# The first run alone, so that the features are encoded once.
runs | head -n 1 | xargs -I{} sh -c '${PYTHON:-python3} {}'
runs | tail -n +2 | OMP_NUM_THREADS=1 xargs -P "$jobs" -I{} sh -c '${PYTHON:-python3} {}'
